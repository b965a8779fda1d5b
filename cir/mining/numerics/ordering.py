"""The order of candidates: by distance, and where that is tied, by gallery row."""

from typing import Final, no_type_check

import numpy as np

from cir.mining.numerics.jit import compiled

MOST_COUNTED: Final = 2**15 - 1
"""Codes of 16 bits that `count_above` counts at once: more would overflow its count. Tiles of the
gallery on the CPU are no wider."""


@compiled
@no_type_check
def before(distance, row, other_distance, other_row):
    """Whether one (distance, row) is less than another."""
    return (distance < other_distance) | ((distance == other_distance) & (row < other_row))


@compiled
@no_type_check
def count_above(codes, bound, inclusive):
    """How many codes are above `bound`, or where `inclusive` equal to it, of `MOST_COUNTED`."""
    # A count as narrow as the codes lets vector instructions count more of them at once.
    count = codes.dtype.type(0)
    for position in range(codes.shape[0]):
        code = codes[position]
        count = codes.dtype.type(count + ((code > bound) | (inclusive & (code == bound))))
    return np.int64(count)
