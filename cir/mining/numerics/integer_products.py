"""Products of 16-bit integers, exact in 32 bits: the innermost loop of an integer product.

Processors multiply pairs of 16-bit integers and add the two products in one vector instruction
(PMADDWD of x86, twice as many terms at once as in float32), which compilers do not choose for a
loop over arrays. So the loop is written in the compiler's own vectors, from which it makes the
instructions that the processor has: some rows of one side, whose sums stay in registers, meet a
panel of `COLUMNS` rows of the other. Each sum becomes a code of 16 bits before it leaves them.
"""

from typing import Any, Final, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

COLUMNS: Final = 16
"""Rows of the other side in a panel: two registers of AVX2 for the sums of each row."""
ROWS: Final = 6
"""Rows that meet a panel at once: with theirs, the sums fill the registers of AVX2."""

_SHORT, _INT, _LONG, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_BYTE: Final = ir.IntType(8).as_pointer()
_SHORTS: Final = ir.VectorType(_SHORT, COLUMNS)
_SUMS: Final = ir.VectorType(_INT, COLUMNS)
_FLOATS: Final = ir.VectorType(_FLOAT, COLUMNS)
_PAIRS: Final = ir.VectorType(_SHORT, 2 * COLUMNS)
_PRODUCTS: Final = ir.VectorType(_INT, 2 * COLUMNS)
_WORD: Final = 4
"""Bytes of a pair of short integers, of an integer and of a float."""


def _made(rows: int) -> Any:
    """A loop for so many rows."""

    @intrinsic
    @no_type_check
    def write_codes(typing, left, first, panel, row_factors, panel_factors, codes):
        """Writes the codes of some rows of `left` with a panel.

        A code is sum × unit × panel unit + panel constant × per step + constant, cut off towards 0.

        Args:
            typing: Numba's.
            left: 16-bit integers, rows × width; the width is even.
            first: The first of the rows.
            panel: 16-bit integers, width / 2 × `COLUMNS` × 2.
            row_factors: float32, rows × (unit, per step, constant).
            panel_factors: float32, (unit, constant) × `COLUMNS`.
            codes: 16-bit integers, at least rows × `COLUMNS`; they are overwritten.
        """
        signature = types.void(left, first, panel, row_factors, panel_factors, codes)

        def generate(context, builder, signature, given):
            left, panel, row_factors, panel_factors, codes = (
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, given, strict=True)
                if isinstance(kind, types.Array)
            )
            named = [builder.add(given[1], _LONG(row)) for row in range(rows)]
            lefts = [_row(builder, left, row) for row in named]
            length = cgutils.unpack_tuple(builder, panel.shape)[0]
            sums = _summed(builder, lefts, builder.bitcast(panel.data, _BYTE), length)
            for row, total in enumerate(sums):
                factors = _row(builder, row_factors, named[row])
                found = _code(builder, total, factors, builder.bitcast(panel_factors.data, _BYTE))
                _store(builder, found, _row(builder, codes, _LONG(row)))
            return context.get_dummy_value()

        return signature, generate

    return write_codes


@no_type_check
def _summed(builder, lefts, panel, length):
    """Adds the products of each row with the lines of a panel; the sums, a vector for each row."""
    before, body = builder.block, builder.append_basic_block("pairs")
    after = builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    pair, sums = builder.phi(_LONG), [builder.phi(_SUMS) for _ in lefts]
    line = builder.sext(_load(builder, panel, _PAIRS, builder.mul(pair, _LONG(COLUMNS))), _PRODUCTS)
    found = [
        builder.add(total, _pair_sums(builder, _load(builder, row, _INT, pair), line))
        for total, row in zip(sums, lefts, strict=True)
    ]
    following = builder.add(pair, _LONG(1))
    for value, next_value in zip([pair, *sums], [following, *found], strict=True):
        value.add_incoming(ir.Constant(value.type, None), before)
        value.add_incoming(next_value, body)
    builder.cbranch(builder.icmp_signed("<", following, length), body, after)
    builder.position_at_end(after)
    return found


@no_type_check
def _pair_sums(builder, pair, line):
    """A x + b y for a pair (a, b) and every pair (x, y) of a line, in the pattern of PMADDWD."""
    pairs = builder.bitcast(_everywhere(builder, pair, _SUMS), _PAIRS)
    products = builder.mul(builder.sext(pairs, _PRODUCTS), line)
    nothing = ir.Constant(_PRODUCTS, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(
            products, nothing, ir.Constant(_SUMS, list(range(start, 2 * COLUMNS, 2)))
        )
        for start in range(2)
    )
    return builder.add(even, odd)


@no_type_check
def _code(builder, total, factors, panel_factors):
    """The codes of the sums of a row."""
    unit, per_step, constant = (
        _everywhere(builder, _load(builder, factors, _FLOAT, _LONG(place)), _FLOATS)
        for place in range(3)
    )
    units, constants = (
        _load(builder, panel_factors, _FLOATS, _LONG(place * COLUMNS)) for place in range(2)
    )
    similarity = builder.fmul(builder.sitofp(total, _FLOATS), builder.fmul(unit, units))
    added = builder.fadd(builder.fmul(constants, per_step), constant)
    return builder.trunc(builder.fptosi(builder.fadd(similarity, added), _SUMS), _SHORTS)


@no_type_check
def _everywhere(builder, value, kind):
    """A vector that holds one value in all places."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, _INT(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_SUMS, [0] * COLUMNS))


@no_type_check
def _row(builder, array, row):
    """Where a row of an array begins."""
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    return builder.gep(builder.bitcast(array.data, _BYTE), [builder.mul(stride, row)])


@no_type_check
def _load(builder, start, kind, words):
    """Loads what lies so many words behind a place, which need not be aligned to vectors."""
    at = builder.gep(start, [builder.mul(words, _LONG(_WORD))])
    loaded = builder.load(builder.bitcast(at, kind.as_pointer()))
    loaded.align = 2
    return loaded


@no_type_check
def _store(builder, value, at):
    stored = builder.store(value, builder.bitcast(at, value.type.as_pointer()))
    stored.align = 2


write_codes_of_rows: Final = _made(ROWS)
write_codes_of_row: Final = _made(1)
