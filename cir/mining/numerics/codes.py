"""Numbers as integers in the same order, so that short ones compare fast.

A code is either of two kinds. The bits of an IEEE number ascend with it once all but the sign are
flipped where it is negative; bfloat16 is the upper half of float32. Or a code counts steps of one
size: number = code × step, and is of 16 bits.
"""

import math
from typing import Final, no_type_check

import numpy as np

from cir.mining.numerics.jit import compiled

BITS: Final = 0.0
"""In place of a step: codes are the bits of IEEE numbers."""
MOST_STEPS: Final = 2**15 - 1
"""The greatest code that counts steps; the least is its negative."""


@compiled
@no_type_check
def order_codes(row):
    """Turns the bits of numbers into codes, in place: integers in the order of the numbers."""
    most = row.dtype.type(np.iinfo(row.dtype).max)
    for position in range(row.shape[0]):
        code = row[position]
        row[position] = code ^ most if code < 0 else code


@compiled
@no_type_check
def code_of(number, shift, step, cell):
    """The code of a number, rounded down.

    Args:
        number: Any but NaN; beyond the codes that count steps, it gets the last of them.
        shift: Bits of float32 that codes lack, if they are bits.
        step: What codes count, or `BITS`.
        cell: A float32 to work in.
    """
    if step != BITS:
        return np.int64(math.floor(min(max(number / step, -MOST_STEPS), MOST_STEPS)))
    cell[0] = number
    bits = cell.view(np.int32)[0]
    code = np.int64(bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF)))
    return code >> shift if code >= 0 else ((code + 1) >> shift) - 1


@compiled
@no_type_check
def number_of(code, shift, step, cell):
    """The number of a code."""
    wide = np.int64(code)
    if step != BITS:
        return wide * step
    word = np.int32(wide << shift if wide >= 0 else ((wide + 1) << shift) - 1)
    cell.view(np.int32)[0] = word ^ ((word >> 31) & np.int32(0x7FFFFFFF))
    return np.float64(cell[0])
