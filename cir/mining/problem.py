"""What is mined in, and what comes of it: arrays alone, no files and no names.

A `Problem` goes into the engine with a `cir.mining.plan.Plan`, and a `Mined` comes out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64

from cir.ragged import Ragged
from cir.types import NO_ROW, Band, Scope


@dataclass(frozen=True, eq=False)
class Problem:
    """Unit vectors, and which of them may not be paired."""

    queries: Float32[np.ndarray, "queries dim"]
    targets: Float32[np.ndarray, "queries dim"]
    """The target of each query; it need not be in the gallery."""
    gallery: Float32[np.ndarray, "gallery dim"]
    """All of it, or a shard where several processes hold one each. Unit vectors in a file may be
    mapped into memory, `np.load(path, mmap_mode="r")`: they are read a few thousand at a time."""
    exclusions: Ragged
    """Gallery rows that are no negatives of a query, counted from the first of the shard."""
    categories: Int64[np.ndarray, " queries"] | None = None
    """The category of each query, for scopes other than `any`."""
    members: Bool[np.ndarray, "categories gallery"] | None = None
    """Which gallery rows are of each category; one may be of several."""
    first_row: int = 0
    """The row of the whole gallery that the shard begins at."""


@dataclass(frozen=True)
class CandidatePool:
    """The candidates kept for a draw or a fill: of which scope and band, by which priority."""

    scope: Scope
    band: Band
    priority: int
    """Of `cir.mining.scan.sampling_keys`."""
    draw_index: int
    """Tells apart the random draws for one query."""


@dataclass(frozen=True)
class FilterCounts:
    """Valid candidates that each filter of a plan excluded, over all queries."""

    relative_margin: int = 0
    max_similarity: int = 0
    ranks: int = 0


@dataclass(frozen=True, eq=False)
class Mined:
    """The negatives of each query, nearest first; row i of each field is query i."""

    rows: Int64[np.ndarray, "queries negatives"]
    """Gallery rows; `NO_ROW` behind the last negative of a query that got fewer."""
    distances: Float32[np.ndarray, "queries negatives"]
    kinds: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.KINDS`."""
    scopes: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.SCOPES`: where each was drawn from."""
    target_distances: Float32[np.ndarray, " queries"]
    target_ranks: Int32[np.ndarray, " queries"]
    """1 + the number of valid candidates nearer than the target."""
    candidates_in_band: Int32[np.ndarray, " queries"]
    """Eligible candidates that any of the draws could have given."""
    starved: Bool[np.ndarray, " queries"]
    """Whether the bands held fewer candidates than the query is to get negatives."""
    excluded: FilterCounts

    @property
    def counts(self) -> Int64[np.ndarray, " queries"]:
        """Negatives of each query."""
        counts: Int64[np.ndarray, " queries"] = (self.rows != NO_ROW).sum(axis=1)
        return counts
