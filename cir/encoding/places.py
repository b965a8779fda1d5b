"""Vectors that stand in several tables, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Place:
    """Where a vector is: a table of several, and a row of it."""

    table: int
    row: int


def gathered(
    tables: Sequence[Float[np.ndarray, "_ dim"]], places: Sequence[Place], dim: int
) -> Float[np.ndarray, "places dim"]:
    """The vectors at some places of some tables, in their order."""
    vectors = np.empty((len(places), dim), np.float32)
    of_table = np.array([place.table for place in places], np.int64)
    rows = np.array([place.row for place in places], np.int64)
    for number in np.unique(of_table):
        chosen = np.flatnonzero(of_table == number)
        vectors[chosen] = tables[number][rows[chosen]]
    return vectors
