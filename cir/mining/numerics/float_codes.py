"""Floating-point numbers as integers in the same order, so that short ones compare fast.

The bits of an IEEE number ascend with it once all but the sign are flipped where it is negative.
bfloat16 is the upper half of float32.
"""

from typing import no_type_check

import numpy as np

from cir.mining.numerics.jit import compiled


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
def code_of(number, shift, cell):
    """The code of a number, rounded down to one of those that lack `shift` bits of float32."""
    cell[0] = number
    bits = cell.view(np.int32)[0]
    code = np.int64(bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF)))
    return code >> shift if code >= 0 else ((code + 1) >> shift) - 1


@compiled
@no_type_check
def number_of(code, shift, cell):
    """The number of a code."""
    wide = np.int64(code)
    word = np.int32(wide << shift if wide >= 0 else ((wide + 1) << shift) - 1)
    cell.view(np.int32)[0] = word ^ ((word >> 31) & np.int32(0x7FFFFFFF))
    return np.float64(cell[0])
