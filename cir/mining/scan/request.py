"""What a scan is asked: thresholds to count candidates below, and pools to fill.

Candidates are ordered by (distance, gallery row). Compiled code takes named tuples, so a
`ScanRequest` holds most of its arrays in two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64, UInt32

from cir.mining.bands import Borders, Keys
from cir.mining.plan import Plan
from cir.mining.problem import CandidatePool, Problem
from cir.mining.scan.sampling_keys import hash_keys
from cir.ragged import Ragged
from cir.types import SCOPES

Some = slice | Int64[np.ndarray, " some"]
"""Which of the queries."""

_LOWEST_OFFSET: Final = np.float32(0.5)
"""How far below the target's similarity the offset of a sketch may lie, at most."""


class ThresholdQueries(NamedTuple):
    """Queries, and the thresholds below which the valid candidates of each are counted."""

    vectors: Float32[np.ndarray, "queries dim"]
    categories: Int64[np.ndarray, " queries"]
    distances: Float32[np.ndarray, "queries thresholds"]
    rows: Int64[np.ndarray, "queries thresholds"]
    """A candidate is below a threshold when its (distance, row) is less."""

    def block(self, queries: Some) -> "ThresholdQueries":
        """Those of some of the queries."""
        return ThresholdQueries(*(values[queries] for values in self))


class PoolRequest(NamedTuple):
    """The pools of each query: which candidates may enter, and which of those are kept."""

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
    """Whether a query takes anything from a pool; the scan leaves other pools empty."""
    first_fill: int
    """Pools from this one on fill up starved queries. The scan skips them for a query while all
    pools before are full, since such a query cannot be starved."""
    temperature: float

    def block(self, queries: Some) -> "PoolRequest":
        """The pools of some of the queries."""
        return self._replace(
            low_distances=self.low_distances[queries],
            low_rows=self.low_rows[queries],
            high_distances=self.high_distances[queries],
            high_rows=self.high_rows[queries],
            hash_keys=self.hash_keys[queries],
            needed=self.needed[queries],
        )


@dataclass(frozen=True, eq=False)
class ScanRequest:
    """Queries with their thresholds and pools, and the gallery to scan for them."""

    thresholds: ThresholdQueries
    pools: PoolRequest
    kept: int
    """Candidates that a pool keeps for each query."""
    decisions: Float32[np.ndarray, "queries decisions"]
    """The similarities about which a scan has to tell candidates apart. The last is the offset of
    the query's sketch, whose codes are finest there."""
    gallery: Float32[np.ndarray, "gallery dim"]
    first_row: int
    """The row of the whole gallery at which this gallery, a shard, begins."""
    exclusions: Ragged
    """Rows of this gallery that are no candidates of a query, ascending."""
    members: Bool[np.ndarray, "categories gallery"]
    """The gallery rows of each category; no category where the plan draws by none."""

    def __len__(self) -> int:
        return len(self.thresholds.vectors)

    def block(self, queries: Some) -> "ScanRequest":
        """The request of some of the queries."""
        return replace(
            self,
            thresholds=self.thresholds.block(queries),
            pools=self.pools.block(queries),
            decisions=self.decisions[queries],
            exclusions=self.exclusions.take(np.arange(len(self))[queries]),
        )


def scan_request(
    problem: Problem,
    plan: Plan,
    borders: Borders,
    pools: Sequence[CandidatePool],
    needed: Bool[np.ndarray, "queries pools"],
    first_fill: int,
    kept: int,
) -> ScanRequest:
    """Makes the request of a problem and a plan.

    Args:
        problem: Queries, gallery, exclusions and categories.
        plan: Whether categories matter, the seed and the temperature.
        borders: The thresholds, and where the bands of the pools lie.
        pools: The pools of each query.
        needed: Whether a query takes anything from a pool.
        first_fill: The first pool that serves only queries which the pools before leave starved.
        kept: Candidates that a pool keeps for each query.
    """
    categories, members = problem.categories, problem.members
    if not plan.by_category or categories is None or members is None:
        categories = np.zeros(len(problem.queries), np.int64)
        members = np.zeros((0, len(problem.gallery)), np.bool_)
    thresholds = borders.thresholds.values()
    return ScanRequest(
        thresholds=ThresholdQueries(
            # torch and compiled functions take contiguous, writable memory alone.
            vectors=np.require(problem.queries, requirements=["C", "W"]),
            categories=categories,
            distances=np.stack([keys.distances for keys in thresholds], axis=1),
            rows=np.stack([keys.rows for keys in thresholds], axis=1),
        ),
        pools=_pool_request(plan, borders, pools, needed, first_fill),
        kept=kept,
        decisions=_decisions(borders),
        gallery=problem.gallery,
        first_row=problem.first_row,
        exclusions=problem.exclusions,
        members=members,
    )


def _pool_request(
    plan: Plan,
    borders: Borders,
    pools: Sequence[CandidatePool],
    needed: Bool[np.ndarray, "queries pools"],
    first_fill: int,
) -> PoolRequest:
    intervals = [borders.intervals(pool.band) for pool in pools]
    queries = np.arange(len(needed))
    keys = [hash_keys(plan.seed, pool.draw_index, queries) for pool in pools]
    return PoolRequest(
        *_bounds([[low for low, _ in parts] for parts in intervals]),
        *_bounds([[high for _, high in parts] for parts in intervals]),
        hash_keys=np.stack(keys, axis=1),
        scopes=np.array([SCOPES.index(pool.scope) for pool in pools], dtype=np.int8),
        priorities=np.array([pool.priority for pool in pools], dtype=np.int8),
        needed=needed,
        first_fill=first_fill,
        temperature=plan.temperature,
    )


def _bounds(
    keys: Sequence[Sequence[Keys]],
) -> tuple[
    Float32[np.ndarray, "queries pools intervals"], Int64[np.ndarray, "queries pools intervals"]
]:
    """Distances and rows of the keys at which each pool's intervals begin, or end."""
    distances, rows = (
        np.stack([np.stack([part[field] for part in parts], axis=1) for parts in keys], axis=1)
        for field in range(2)
    )
    return distances, rows


def _decisions(borders: Borders) -> Float32[np.ndarray, "queries decisions"]:
    target = np.float32(1) - borders.targets
    borders_met = [*borders.filters.values(), *(borders.adaptive or ())]
    decisions = [np.float32(1) - keys.distances for keys in borders_met] + [target]
    if borders.bounded:
        margin = np.float32(1) - borders.margins
        decisions.append(np.maximum(margin, target - _LOWEST_OFFSET))
    return np.stack(decisions, axis=1)
