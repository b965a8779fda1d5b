"""Valid candidates below each threshold: by their codes, and exactly where codes leave doubt."""

from typing import no_type_check

import numpy as np

from cir.mining.numerics.bytemask import list_marked
from cir.mining.numerics.cosine import cosine, write_nearly_cosines
from cir.mining.numerics.jit import compiled
from cir.mining.numerics.ordering import before, count_above


@compiled
@no_type_check
def count_surely_below(row, threshold_codes, counts_below, marked):
    """Counts the candidates surely below each threshold, and marks those that may be below.

    Returns:
        Whether any is marked.
    """
    ambiguous, every, same_category = False, 0, 0
    for threshold in range(threshold_codes.shape[0]):
        low, high = threshold_codes[threshold, 0], threshold_codes[threshold, 1]
        # Thresholds at one distance have equal codes, and one count serves both.
        if (
            threshold == 0
            or low != threshold_codes[threshold - 1, 0]
            or high != threshold_codes[threshold - 1, 1]
        ):
            every = count_above(row.codes, high, False)
            same_category = _count_members(row.codes, row.members, high) if row.scoped else 0
            ambiguous |= _mark_between(row.codes, low, high, marked)
        counts_below[threshold, 0] += every
        counts_below[threshold, 1] += same_category
    return ambiguous


@compiled
@no_type_check
def _count_members(codes, members, high):
    """How many codes of the category's members are above `high`."""
    count = codes.dtype.type(0)
    for position in range(codes.shape[0]):
        count = codes.dtype.type(count + ((codes[position] > high) & members[position]))
    return np.int64(count)


@compiled
@no_type_check
def _mark_between(codes, low, high, marked):
    """Marks the codes from `low` to `high` beside earlier marks; returns whether there are any."""
    some = np.uint8(0)
    for position in range(codes.shape[0]):
        between = np.uint8((codes[position] >= low) & (codes[position] <= high))
        some = np.uint8(some | between)
        marked[position] = np.uint8(marked[position] | between)
    return some != 0


@compiled
@no_type_check
def is_ambiguous(code, threshold_codes):
    """Whether a code leaves open on which side of any threshold the candidate is."""
    ambiguous = False
    for threshold in range(threshold_codes.shape[0]):
        ambiguous |= (code >= threshold_codes[threshold, 0]) & (
            code <= threshold_codes[threshold, 1]
        )
    return ambiguous


@compiled
@no_type_check
def count_ambiguous_exactly(query, row, tile, thresholds, counts_below, scratch):
    """Counts the marked candidates, those of `is_ambiguous`, and keeps their similarities."""
    vector, distances = thresholds.vectors[query], thresholds.distances[query]
    rows, bounds = thresholds.rows[query], scratch.threshold_codes
    count = list_marked(scratch.marked, scratch.positions)
    write_nearly_cosines(vector, tile.vectors, scratch.positions, count, scratch.cosines)
    for index in range(count):
        position, exact = scratch.positions[index], False
        code, distance = row.codes[position], np.float32(1) - scratch.cosines[position]
        for threshold in range(bounds.shape[0]):
            if code < bounds[threshold, 0] or code > bounds[threshold, 1]:
                continue
            if not exact and abs(distance - distances[threshold]) <= row.product_error:
                candidate, exact = tile.vectors[position], True
                distance = np.float32(1) - cosine(vector, candidate, scratch.terms)
            below = before(
                distance, tile.global_rows[position], distances[threshold], rows[threshold]
            )
            counts_below[threshold, 0] += below
            counts_below[threshold, 1] += below & row.members[position]
