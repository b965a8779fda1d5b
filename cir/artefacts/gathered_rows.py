"""Rows of several tables of vectors, in any order."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from cir.artefacts.rows import Rows


class GatheredRows:
    """Chosen rows of some tables, which are read where they are asked for."""

    def __init__(self, tables: Sequence[Rows], rows: Int[np.ndarray, " rows"], dim: int) -> None:
        """Chooses rows.

        Args:
            tables: (_, dim) vectors each, whose rows are counted through from table to table.
            rows: The chosen ones, in their order.
            dim: Components of a vector.
        """
        self.shape = len(rows), dim
        self._tables, self._rows = tables, rows
        self._starts = np.cumsum([0, *map(len, tables)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "_ dim"]:
        """Some of the chosen rows."""
        wanted = self._rows[rows]
        of_table = np.searchsorted(self._starts, wanted, side="right") - 1
        found = np.empty((len(wanted), self.shape[1]), np.float32)
        for number in np.unique(of_table):
            chosen = of_table == number
            found[chosen] = self._tables[number][wanted[chosen] - self._starts[number]]
        return found
