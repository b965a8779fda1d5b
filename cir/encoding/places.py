"""Vectors that stand in several tables, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

_AT_ONCE: Final = 4096
"""Vectors that are copied at once: all at once would be held a third time."""


@dataclass(frozen=True)
class Place:
    """Where a vector is: a table of several, and a row of it."""

    table: int
    row: int


def gathered(
    tables: Sequence[Float[np.ndarray, "_ dim"]], places: Sequence[Place], dim: int
) -> Float[np.ndarray, "places dim"]:
    """The vectors at some places of some tables, in their order.

    Consecutive rows of one table are those rows of it; others are copied, some at a time.
    """
    of_table = np.array([place.table for place in places], np.int64)
    rows = np.array([place.row for place in places], np.int64)
    if len(places) and (of_table == of_table[0]).all() and (np.diff(rows) == 1).all():
        first, table = places[0].row, tables[places[0].table]
        return table[first : first + len(rows)]
    vectors = np.empty((len(places), dim), np.float32)
    for start in range(0, len(places), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        for number in np.unique(of_table[span]):
            chosen = start + np.flatnonzero(of_table[span] == number)
            vectors[chosen] = tables[number][rows[chosen]]
    return vectors
