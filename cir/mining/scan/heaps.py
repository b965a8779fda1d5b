"""Heaps of the candidates that a pool keeps, the greatest (key, row) at the root."""

from typing import no_type_check

from cir.mining.numerics.jit import compiled
from cir.mining.numerics.ordering import before


@compiled
@no_type_check
def sift_up(keys, rows, distances, size, key, row):
    """Moves lesser entries down from the end of a heap; the place that is left for (key, row)."""
    place = size
    while place > 0 and before(keys[(place - 1) // 2], rows[(place - 1) // 2], key, row):
        above = (place - 1) // 2
        keys[place], rows[place], distances[place] = keys[above], rows[above], distances[above]
        place = above
    return place


@compiled
@no_type_check
def sift_down(keys, rows, distances, key, row):
    """Moves greater entries up from the root of a heap; the place that is left for (key, row)."""
    place = 0
    while 2 * place + 1 < keys.shape[0]:
        below = 2 * place + 1
        if below + 1 < keys.shape[0] and before(
            keys[below], rows[below], keys[below + 1], rows[below + 1]
        ):
            below += 1
        if not before(key, row, keys[below], rows[below]):
            break
        keys[place], rows[place], distances[place] = keys[below], rows[below], distances[below]
        place = below
    return place
