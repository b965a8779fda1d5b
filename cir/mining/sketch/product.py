"""Similarities by a cheap matrix product, with a proven bound of how far they are off.

Queries x and gallery vectors y are centred about their means μ, rotated to their principal axes,
cut to the first few of those and rounded. With P the rotation, [.] the rounding and t the part that
is cut off,

    x·y = [Px]·[Py] + x·μ_y + μ_x·(y − μ_y) + error,
    |error| ≤ |Px − [Px]| |Py| + |[Px]| |Py − [Py]| + |t_x| |t_y| + roundings of the sum

by the Cauchy-Schwarz inequality, and the roundings of the cosine that decides are counted too
(`cir.mining.numerics.cosine`). The lengths are measured, not assumed. The middle terms are
columns of the product, and so is an offset for each query: a rounded result is finest near zero,
so the offset lies where decisions are taken. Embeddings crowd about their mean and along few axes,
which makes all three terms small; vectors without such structure are cut nowhere.

bfloat16 halves the product's time or better on processors that have it; sums are of float32. Its
rounding bears on the longest coordinates most, so the first few axes are kept as two numbers each,
[Px] = a + b: the product then holds a_x a_y + a_x b_y + b_x a_y.

16-bit integers (`cir.mining.sketch.integers`) halve it on those that lack bfloat16. Their sums are
exact, the middle terms and the offset are added after them, and codes say the result in steps.

Where only high similarities are looked for, |t| can be a column as well: the product is then a
ceiling of the similarity, and far fewer axes are enough to rule a pair out.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int16, Int64, Shaped
from torch import Tensor

from cir.mining.numerics.codes import BITS, MOST_STEPS
from cir.mining.numerics.cosine import cosine_error, product_error
from cir.mining.numerics.threads import scanning_threads
from cir.mining.sketch.cost_model import SMALL_WORK, Width, cheapest_width
from cir.mining.sketch.integers import filled, multiply, panels_of, scaling, scaling_error
from cir.mining.sketch.principal_axes import Moments, PrincipalAxes, RunParts, moments_of

_ROWS_TOGETHER: Final = 512
"""Rows that are sketched together: few enough for the processor's cache."""
_SAMPLE: Final = 2048
"""Rows to which means and axes are fitted."""
_SAMPLE_OF_CEILINGS: Final = 512
"""Rows to which those of a ceiling are fitted, which keeps the first few axes alone."""
_MOST_OF_CEILINGS: Final = 64
"""Axes from which a ceiling is chosen, if it does not keep all."""
_TRIED: Final = 64, 256
"""Queries, and gallery rows, by which the width is chosen."""
_SPLITS: Final = {torch.bfloat16: 3, torch.float32: 1}
"""Numbers that together hold a float32."""
_INTEGERS: Final = {
    torch.int16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
}
_NO_NUMBER: Final = -1
"""The bits of a NaN, which no product of vectors gives."""
_SECOND_DIGITS: Final = 2.0**-8
"""How large the second of two numbers is, relative to the first, at most."""
_TRIALS: Final = 6
"""Runs by which the fastest arithmetic is found."""
_HOPELESS: Final = 4
"""How many times as long as the fastest the runs of another take that is tried no more."""
_SMALLEST: Final = 1e-3
"""Steps are no smaller than if products were of this size."""
_MEASURING: Final = 1e-7
"""More than the rounding of a length measured in float64."""


class Sketched(NamedTuple):
    """The sketched similarities of some queries with some rows, and how far they may be off."""

    codes: Int[np.ndarray, "queries rows"]
    """(similarity − offset), as its bits in a signed integer of 16 or 32 bits, or in steps."""
    shift: int
    """Bits of float32 that its bits lack: 16 for bfloat16, 0 for float32."""
    steps: Float64[np.ndarray, " queries"]
    """What codes count, or `BITS`."""
    offsets: Float64[np.ndarray, " queries"]
    errors: Float64[np.ndarray, " queries"]
    """How far a similarity may be off, at most."""

    def exclude(
        self, queries: Int64[np.ndarray, " pairs"], rows: Int64[np.ndarray, " pairs"]
    ) -> None:
        """Gives pairs a code that is below every similarity's once codes are in order."""
        bits = self.steps.size and self.steps[0] == BITS
        self.codes[queries, rows] = _NO_NUMBER if bits else np.iinfo(self.codes.dtype).min


@dataclass(frozen=True, eq=False)
class Side:
    """The queries or the gallery rows of a product: vectors cut and rounded, and what each lost."""

    columns: Shaped[Tensor, "rows width"]
    length: Float64[np.ndarray, " rows"]
    """|Px| and |[Px]| are at most this."""
    rounded: Float64[np.ndarray, " rows"]
    """|Px − [Px]|."""
    cut: Float64[np.ndarray, " rows"]
    """|t|."""
    constant: Float64[np.ndarray, " rows"]
    """What is added to [Px]·[Py] for each row."""
    unit: Float64[np.ndarray, " rows"]
    """What one stands for in columns of integers."""

    @cached_property
    def panels(self) -> Int16[np.ndarray, "panels pairs lines two"]:
        """Columns of integers, as their product reads them."""
        return panels_of(self.columns.numpy())

    @property
    def lengths(self) -> tuple[Float64[np.ndarray, " rows"], ...]:
        """All fields but the columns."""
        return self.length, self.rounded, self.cut, self.constant, self.unit

    def block(self, rows: slice) -> "Side":
        """A view of some of the rows."""
        return Side(self.columns[rows], *(values[rows] for values in self.lengths))

    def take(self, rows: Int64[np.ndarray, " chosen"]) -> "Side":
        """Some of the rows, in their order."""
        return Side(
            self.columns[torch.from_numpy(rows)], *(values[rows] for values in self.lengths)
        )


def concatenated_sides(sides: Sequence[Side]) -> Side:
    """The rows of all sides in one."""
    lengths = zip(*(side.lengths for side in sides), strict=True)
    return Side(
        torch.cat([side.columns for side in sides]), *(np.concatenate(parts) for parts in lengths)
    )


class Sketch:
    """Approximates the similarities of a set of queries with any rows of a gallery."""

    def __init__(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        gallery: Float32[np.ndarray, "gallery dim"],
        decisions: Float32[np.ndarray, "queries decisions"],
        dtype: torch.dtype,
        width: Width | None = None,
        *,
        ceiling: bool = False,
        small_work: int = SMALL_WORK,
        run_parts: RunParts = map,
    ) -> None:
        """Fits the sketch.

        Args:
            queries: Unit vectors.
            gallery: Unit vectors, of which a sample is looked at.
            decisions: Similarities at which decisions are taken; the last of each query is the
                offset that is subtracted from its similarities.
            dtype: torch.int16, torch.bfloat16 or torch.float32.
            width: Axes to keep; by default those that cost least, together with the pairs that will
                have to be compared exactly.
            ceiling: Whether products are upper bounds of the similarities, whatever was cut off.
            small_work: With fewer pairs than these, all axes are kept.
            run_parts: Sketches parts of the queries, one after the other or side by side.
        """
        self.dtype, self._ceiling = dtype, ceiling
        self._cosine_error = cosine_error(queries.shape[1])
        self.offsets = decisions[:, -1].astype(np.float64)
        rows, most = (_SAMPLE_OF_CEILINGS, _MOST_OF_CEILINGS) if ceiling else (_SAMPLE, None)
        query_sample, gallery_sample = _spread(queries, rows), _spread(gallery, rows)
        self._query_mean, self._gallery_mean = (
            sample.mean(axis=0, dtype=np.float64) for sample in (query_sample, gallery_sample)
        )
        centred_queries = query_sample - self._query_mean.astype(np.float32)
        centred_gallery = gallery_sample - self._gallery_mean.astype(np.float32)
        axes = PrincipalAxes(centred_queries, centred_gallery, most, run_parts)
        if width is None:
            width = cheapest_width(
                axes,
                _spread(centred_queries, _TRIED[0]),
                _spread(centred_gallery, _TRIED[1]),
                _distances_to_decisions(query_sample, gallery_sample, _spread(decisions, rows)),
                dtype,
                len(queries),
                len(gallery),
                small_work,
            )
        self.width, self._rotation = width, axes.first(width.axes)
        self._second = _SECOND_DIGITS if width.split_axes else 0.0
        parts = run_parts(lambda part: self._query_side(queries, part), _parts(len(queries)))
        self.queries = concatenated_sides(list(parts))

    def tile(self, vectors: Float32[np.ndarray, "rows dim"]) -> Side:
        """The gallery side of some rows."""
        constant = -float(self._query_mean @ self._gallery_mean)
        means, sides = (self._gallery_mean, self._query_mean), []
        for part in _parts(len(vectors)):
            constants = np.full(len(vectors[part]), constant)
            sides.append(self._side(vectors[part], *means, constants, of_queries=False))
        return concatenated_sides(sides)

    def errors(self, queries: Side, tile: Side) -> Float64[np.ndarray, " queries"]:
        """How far `multiply` may be off for each query, at most."""
        reach, rest = tile.length.max(), tile.rounded.max()
        return np.asarray(
            queries.rounded * reach
            + queries.length * rest
            + queries.cut * tile.cut.max()
            + queries.length * reach * self._second**2
            + self._errors_of_sums(queries, tile)
        )

    def _errors_of_sums(self, queries: Side, tile: Side) -> Float64[np.ndarray, " queries"]:
        """How far the product itself may be off, of what is in the columns, and `cosine`."""
        if self.dtype == torch.int16:
            rounding = scaling_error(_magnitudes(queries, tile))
            return np.asarray(rounding + _steps(queries, tile) + self._cosine_error)
        return np.asarray((_magnitudes(queries, tile) + 1) * product_error(tile.columns.shape[1]))

    def doubt(self, tile: Side) -> Float64[np.ndarray, " rows"]:
        """How far the similarity of each row with a mean query may be off."""
        queries = self.queries
        return np.asarray(
            queries.rounded.mean() * tile.length
            + queries.length.mean() * tile.rounded
            + queries.cut.mean() * tile.cut
        )

    def multiply(self, block: slice, tile: Side, out: Shaped[Tensor, "queries rows"]) -> Sketched:
        """Similarities of a block of queries with a tile, less the offset of each query.

        Args:
            block: Which of the queries.
            tile: A result of `tile`.
            out: Memory of `dtype`, which is overwritten.
        """
        queries, steps = self.queries.block(block), np.full(block.stop - block.start, BITS)
        if self.dtype == torch.int16:
            steps = _steps(queries, tile)
            factors = scaling(queries.unit, queries.constant, steps, tile.unit, tile.constant)
            multiply(queries.columns.numpy(), tile.panels, factors, out.numpy())
        elif self.dtype == torch.float32:
            # NumPy's BLAS was measured faster than torch's here.
            np.matmul(queries.columns.numpy(), tile.columns.numpy().T, out=out.numpy())
        else:
            torch.mm(queries.columns, tile.columns.T, out=out)
        codes = out.view(_INTEGERS[self.dtype]).numpy()
        shift = 32 - 8 * codes.itemsize
        return Sketched(codes, shift, steps, self.offsets[block], self.errors(queries, tile))

    def _query_side(self, queries: Float32[np.ndarray, "queries dim"], part: slice) -> Side:
        """The side of some of the queries."""
        return self._side(
            queries[part],
            self._query_mean,
            self._gallery_mean,
            -self.offsets[part],
            of_queries=True,
        )

    def _side(
        self,
        vectors: Float32[np.ndarray, "rows dim"],
        mean: Float64[np.ndarray, " dim"],
        other_mean: Float64[np.ndarray, " dim"],
        constants: Float64[np.ndarray, " rows"],
        *,
        of_queries: bool,
    ) -> Side:
        """Centres, rotates, cuts and rounds; `vectors · other_mean + constants` is to be added."""
        moments = moments_of(vectors, mean, other_mean)
        constant = torch.from_numpy(moments.along_other + constants)
        head, cut, error = self._head(vectors, moments, mean)
        length = _lengths(head)
        if self._ceiling:
            head = torch.cat([head, cut.to(head.dtype)[:, None]], dim=1)
            length, cut = length + cut, torch.zeros_like(cut)
        if self.dtype == torch.int16:
            columns, unit, lost = filled(head)
        else:
            columns, lost = self._rounded(head, constant, of_queries=of_queries)
            unit = torch.ones_like(lost)
        rounded = lost + error + _MEASURING
        lengths = (length + rounded, rounded, cut, constant, unit)
        return Side(columns, *(values.numpy() for values in lengths))

    def _rounded(
        self, head: Tensor, constant: Float64[Tensor, " rows"], *, of_queries: bool
    ) -> tuple[Shaped[Tensor, "rows width"], Float64[Tensor, " rows"]]:
        """Columns of floating-point numbers, the constant among them, and what rounding took."""
        kept, split = head.to(self.dtype), slice(0, self.width.split_axes)
        lost = head - kept
        second = lost[:, split].to(self.dtype)
        lost[:, split] -= second
        parts = _split(constant, self.dtype)
        ones, first = torch.ones_like(parts), kept[:, split]
        factors = (first, second, parts, ones) if of_queries else (second, first, ones, parts)
        return torch.cat([kept, *factors], dim=1).contiguous(), _lengths(lost)

    def _head(
        self,
        vectors: Float32[np.ndarray, "rows dim"],
        moments: Moments,
        mean: Float64[np.ndarray, " dim"],
    ) -> tuple[Tensor, Tensor, float]:
        """Centred coordinates, the length of what was cut off, and how far they may be off."""
        given = torch.from_numpy(vectors)
        if self._rotation is None:
            head = given.double() - torch.from_numpy(mean)
            return head, head.new_zeros(len(head)), 0.0
        head, error = self._rotation.turned(given, mean), self._rotation.error
        whole = torch.from_numpy(moments.square - 2 * moments.along + mean @ mean)
        least = (_lengths(head) - error).clamp(min=0)
        rest = (whole - least.square()).clamp(min=0)
        return head, rest.sqrt() + _MEASURING, error


def _magnitudes(queries: Side, tile: Side) -> Float64[np.ndarray, " queries"]:
    """No product of a query with a tile is larger, nor any part of its sum."""
    magnitudes: Float64[np.ndarray, " queries"] = (
        queries.length * tile.length.max() + np.abs(queries.constant) + np.abs(tile.constant).max()
    )
    return magnitudes


def _steps(queries: Side, tile: Side) -> Float64[np.ndarray, " queries"]:
    """Steps small enough for codes of 16 bits to say most of a product, and all of its size."""
    return np.asarray(np.maximum(_magnitudes(queries, tile), _SMALLEST) / (MOST_STEPS - 1))


def _lengths(rows: Tensor) -> Tensor:
    """The length of each row, in float64."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return lengths


def _parts(count: int) -> list[slice]:
    """Consecutive rows, a few at a time."""
    return [slice(start, start + _ROWS_TOGETHER) for start in range(0, count, _ROWS_TOGETHER)]


def _spread(rows: Float32[np.ndarray, "rows dim"], count: int) -> Float32[np.ndarray, "some dim"]:
    """About `count` rows, evenly spaced."""
    return rows[:: -(-len(rows) // count)]


def _distances_to_decisions(
    queries: Float32[np.ndarray, "some dim"],
    gallery: Float32[np.ndarray, "others dim"],
    decisions: Float32[np.ndarray, "some decisions"],
) -> Float32[np.ndarray, "tried sample"]:
    """How far the similarities of those that are tried are from the nearest decision."""
    tried, sides = (_spread(rows, _TRIED[0]) for rows in (queries, decisions))
    similarities = tried @ _spread(gallery, _TRIED[1]).T
    distances: Float32[np.ndarray, "tried sample"] = np.abs(
        similarities[:, :, None] - sides[:, None, :]
    ).min(axis=2)
    return distances


def _split(values: Float64[Tensor, " rows"], dtype: torch.dtype) -> Tensor:
    """Columns of `dtype` that add up to `values` within float32's rounding."""
    parts = []
    for _ in range(_SPLITS[dtype]):
        parts.append(values.to(dtype))
        values = values - parts[-1].double()
    return torch.stack(parts, dim=1)


@cache
def fastest_dtype() -> torch.dtype:
    """The arithmetic in which this processor multiplies fastest: int16, bfloat16 or float32.

    All are tried for a moment, on one thread: mining gives the same with each.
    """
    left, right = torch.ones(_ROWS_TOGETHER, 256), torch.ones(_SAMPLE, 256)
    halves, out = (left.bfloat16(), right.bfloat16()), torch.empty(_ROWS_TOGETHER, _SAMPLE)
    narrow, codes = out.bfloat16(), out.short().numpy()
    sides = [filled(side).columns.numpy() for side in (left, right)]
    panels, ones = panels_of(sides[1]), np.ones(_SAMPLE)
    some = ones[:_ROWS_TOGETHER]
    factors = scaling(some, some, 1e3 * some, ones, ones)
    works: dict[torch.dtype, Callable[[], object]] = {
        torch.float32: lambda: np.matmul(left.numpy(), right.numpy().T, out=out.numpy()),
        torch.bfloat16: lambda: torch.mm(halves[0], halves[1].T, out=narrow),
        torch.int16: lambda: multiply(sides[0], panels, factors, codes),
    }
    with scanning_threads() as pool:
        seconds = pool.submit(_seconds, works).result()
    return min(seconds, key=lambda dtype: seconds[dtype])


def _seconds(works: Mapping[torch.dtype, Callable[[], object]]) -> dict[torch.dtype, float]:
    """The least of a few runs of each; they take turns, so that a busy machine hits all alike."""
    seconds = dict.fromkeys(works, math.inf)
    for work in works.values():
        work()
    for _ in range(_TRIALS):
        least = min(seconds.values())
        for dtype in [each for each in works if seconds[each] <= _HOPELESS * least]:
            started = time.perf_counter()
            works[dtype]()
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
    return seconds
