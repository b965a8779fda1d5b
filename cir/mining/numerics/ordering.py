"""The order of candidates: by distance, and where that is tied, by gallery row."""

from typing import no_type_check

from cir.mining.numerics.jit import compiled


@compiled
@no_type_check
def before(distance, row, other_distance, other_row):
    """Whether one (distance, row) is less than another."""
    return distance < other_distance or (distance == other_distance and row < other_row)
