"""What a scan is asked for: borders to count candidates before, and pools to fill.

Candidates are ordered by (distance, gallery row).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64, UInt32


class ThresholdQueries(NamedTuple):
    """Queries, and what is to be counted for each: valid candidates before each border."""

    vectors: Float32[np.ndarray, "queries dim"]
    categories: Int64[np.ndarray, " queries"]
    border_distances: Float32[np.ndarray, "queries borders"]
    border_rows: Int64[np.ndarray, "queries borders"]
    """A candidate is before a border when its (distance, row) is less."""

    def block(self, queries: slice) -> "ThresholdQueries":
        """Some of the queries."""
        return ThresholdQueries(
            *(values[queries] for values in self),
        )


class PoolRequest(NamedTuple):
    """The pools of the queries: which candidates may enter, and who of them stays."""

    low_distances: Float32[np.ndarray, "queries pools intervals"]
    low_rows: Int64[np.ndarray, "queries pools intervals"]
    """The least (distance, row) that may enter."""
    high_distances: Float32[np.ndarray, "queries pools intervals"]
    high_rows: Int64[np.ndarray, "queries pools intervals"]
    """The first (distance, row) that may not."""
    hash_keys: UInt32[np.ndarray, "queries pools two"]
    scopes: Int8[np.ndarray, " pools"]
    priorities: Int8[np.ndarray, " pools"]
    needed: Bool[np.ndarray, "queries pools"]
    """Whether a query takes anything from a pool: otherwise it is offered nothing there."""
    first_fill: int
    """Pools from this one on are for queries of whom a pool before it is not full: others are
    offered nothing there, since they cannot be starved."""
    temperature: float

    def block(self, queries: slice) -> "PoolRequest":
        """The pools of some of the queries."""
        return self._replace(
            low_distances=self.low_distances[queries],
            low_rows=self.low_rows[queries],
            high_distances=self.high_distances[queries],
            high_rows=self.high_rows[queries],
            hash_keys=self.hash_keys[queries],
            needed=self.needed[queries],
        )
