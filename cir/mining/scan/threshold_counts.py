"""Valid candidates before each border: by their codes, and in full where those leave doubt."""

from typing import no_type_check

import numpy as np

from cir.mining.numerics.jit import compiled
from cir.mining.numerics.bytemask import list_marked
from cir.mining.numerics.ordering import before
from cir.mining.numerics.cosine import cosine, nearly_cosine


@compiled
@no_type_check
def count(row, own, scoped, limits, nearer, marked):
    """Counts the candidates surely before each border; whether it marked any to count_ambiguous_exactly."""
    unsure, every, ours = False, 0, 0
    for border in range(limits.shape[0]):
        low, high = limits[border, 0], limits[border, 1]
        if border == 0 or low != limits[border - 1, 0] or high != limits[border - 1, 1]:
            every = count_from(row, high, False)
            ours = _count_own(row, own, high) if scoped else 0
            unsure |= _mark_between(row, low, high, marked)
        nearer[border, 0] += every
        nearer[border, 1] += ours
    return unsure


@compiled
@no_type_check
def count_from(row, least, itself):
    """How many codes are above `least`, or that itself."""
    count = row.dtype.type(0)
    for place in range(row.shape[0]):
        count = row.dtype.type(count + ((row[place] > least) | (itself & (row[place] == least))))
    return np.int64(count)


@compiled
@no_type_check
def _count_own(row, own, high):
    count = row.dtype.type(0)
    for place in range(row.shape[0]):
        count = row.dtype.type(count + ((row[place] > high) & own[place]))
    return np.int64(count)


@compiled
@no_type_check
def _mark_between(row, low, high, marked):
    """Marks the codes from `low` to `high`, beside those marked; whether there is one."""
    some = np.uint8(0)
    for place in range(row.shape[0]):
        between = np.uint8((row[place] >= low) & (row[place] <= high))
        some = np.uint8(some | between)
        marked[place] = np.uint8(marked[place] | between)
    return some != 0


@compiled
@no_type_check
def count_ambiguous_exactly(
    row, own, names, vectors, vector, distances, rows, nearer,
    limits, marked, places, terms, product_error,
):  # fmt: skip
    """Counts the marked candidates, of whose borders the sketch is unsure."""
    for turn in range(list_marked(marked, places)):
        place, exact = places[turn], False
        distance = np.float32(1) - nearly_cosine(vector, vectors[place])
        for border in range(limits.shape[0]):
            if row[place] < limits[border, 0] or row[place] > limits[border, 1]:
                continue
            if not exact and abs(distance - distances[border]) <= product_error:
                distance, exact = np.float32(1) - cosine(vector, vectors[place], terms), True
            nearer_than = before(distance, names[place], distances[border], rows[border])
            nearer[border, 0] += nearer_than
            nearer[border, 1] += nearer_than & own[place]
