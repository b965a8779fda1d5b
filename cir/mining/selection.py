"""Negatives chosen from what the scan kept: each draw takes its quota, then the fills."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.mining.plan import Plan
from cir.mining.problem import CandidatePool
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM
from cir.types import NO_ROW, SCOPES, Band, Scope

COMPARISONS: Final = 1 << 22
"""Pairs of a selected and a new candidate that are compared at once, which bounds the memory."""


def draw_pools(plan: Plan) -> list[CandidatePool]:
    """The pool of each draw that has a share."""
    return [
        _pool(draw.scope, draw.band, _priority(plan, draw.band), draw_index)
        for draw_index, draw in enumerate(plan.shared)
    ]


def fill_pools(plan: Plan) -> list[CandidatePool]:
    """A pool for each of those draws, to make up for what its band lacks, and a last one.

    The last one is of the whole gallery, for whatever is missing after all others.
    """
    if plan.fill is None:
        return []
    priority = NEAREST if plan.fill == "nearest" else UNIFORM
    scopes: list[Scope] = [*(draw.scope for draw in plan.shared), "any"]
    return [_pool(scope, "any", priority, len(scopes) + n) for n, scope in enumerate(scopes)]


def needs_pool(
    plan: Plan, pools: Sequence[CandidatePool], queries: int
) -> Bool[np.ndarray, "queries pools"]:
    """Which queries may take from each pool.

    From the pool of a fill, all queries may; from that of draws alone, those to which one of the
    draws owes a negative.
    """
    owed = _quota(plan, queries) > 0
    drawn, fills = draw_pools(plan), set(fill_pools(plan))
    needed = np.ones((queries, len(pools)), dtype=np.bool_)
    for column, pool in enumerate(pools):
        draws = [index for index, draw_pool in enumerate(drawn) if draw_pool == pool]
        if draws and pool not in fills:
            needed[:, column] = owed[:, draws].any(axis=1)
    return needed


def _quota(plan: Plan, queries: int) -> Int64[np.ndarray, "queries draws"]:
    """How many negatives each draw with a share gives each query."""
    return plan.quota(np.arange(queries))[:, [draw.share > 0 for draw in plan.draws]]


def _pool(scope: Scope, band: Band, priority: int, draw_index: int) -> CandidatePool:
    """A pool of the nearest is the same for every draw of its scope and band: they share it."""
    return CandidatePool(scope, band, priority, 0 if priority == NEAREST else draw_index)


def _priority(plan: Plan, band: Band) -> int:
    if plan.sampling == "softmax":
        return SOFTMAX
    return UNIFORM if plan.sampling == "random" or band == "any" else NEAREST


@dataclass(frozen=True, eq=False)
class PoolResult:
    """The candidates that a pool keeps for each query, the best first."""

    rows: Int64[np.ndarray, "queries kept"]
    """`NO_ROW` behind the last candidate of a query."""
    distances: Float32[np.ndarray, "queries kept"]
    scope: Scope


class Selection:
    """The negatives chosen so far."""

    def __init__(self, queries: int, num_negatives: int, comparisons: int = COMPARISONS) -> None:
        shape = (queries, num_negatives)
        self.rows = np.full(shape, NO_ROW, dtype=np.int64)
        self.distances = np.full(shape, np.nan, dtype=np.float32)
        self.scopes = np.zeros(shape, dtype=np.int8)
        self.count = np.zeros(queries, dtype=np.int64)
        """How many negatives each query has."""
        self._comparisons = comparisons

    def take(
        self, pool: PoolResult, quota: Int64[np.ndarray, " queries"]
    ) -> Int64[np.ndarray, " queries"]:
        """Takes up to `quota` new candidates of a pool for each query; returns how many."""
        taken = np.zeros_like(quota)
        step = max(1, self._comparisons // (pool.rows.shape[1] * self.rows.shape[1]))
        queries = np.flatnonzero(quota)
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            taken[part] = self._take(pool, quota, part)
        return taken

    def sort(self) -> None:
        """Orders negatives by (distance, gallery row)."""
        distances = np.where(self.rows == NO_ROW, np.inf, self.distances)
        order = np.lexsort((self.rows, distances), axis=1)
        self.rows = np.take_along_axis(self.rows, order, axis=1)
        self.distances = np.take_along_axis(self.distances, order, axis=1)
        self.scopes = np.take_along_axis(self.scopes, order, axis=1)

    def _take(
        self,
        pool: PoolResult,
        quota: Int64[np.ndarray, " queries"],
        part: Int64[np.ndarray, " part"],
    ) -> Int64[np.ndarray, " part"]:
        """`take` for some of the queries."""
        rows = pool.rows[part]
        selected = (rows[:, :, None] == self.rows[part][:, None, :]).any(axis=2)
        new = (rows != NO_ROW) & ~selected
        rank = np.cumsum(new, axis=1) - 1
        taken: Bool[np.ndarray, "part kept"] = new & (rank < quota[part, None])
        queries, columns = np.nonzero(taken)
        slots = (part[queries], self.count[part[queries]] + rank[queries, columns])
        self.rows[slots] = rows[queries, columns]
        self.distances[slots] = pool.distances[part[queries], columns]
        self.scopes[slots] = SCOPES.index(pool.scope)
        counts: Int64[np.ndarray, " part"] = taken.sum(axis=1)
        self.count[part] += counts
        return counts


def choose(
    plan: Plan,
    draws: list[PoolResult],
    fills: list[PoolResult],
    *,
    comparisons: int = COMPARISONS,
) -> tuple[Selection, Bool[np.ndarray, " queries"]]:
    """Chooses negatives: the draws take their quotas, then the fills what is missing.

    Args:
        plan: The quotas of the draws.
        draws: The candidates of each of `draw_pools`.
        fills: The candidates of each of `fill_pools`.
        comparisons: As `COMPARISONS`.

    Returns:
        The negatives, and which queries were starved.
    """
    queries = len(draws[0].rows)
    selection = Selection(queries, plan.num_negatives, comparisons)
    owed = _quota(plan, queries)
    for draw, pool in enumerate(draws):
        owed[:, draw] -= selection.take(pool, owed[:, draw])
    starved = selection.count < plan.num_negatives
    for fill, pool in enumerate(fills):
        missing = plan.num_negatives - selection.count
        # The last fill is for whatever is still missing, whichever draw owes it.
        quota = np.minimum(owed[:, fill], missing) if fill < len(draws) else missing
        selection.take(pool, quota)
    selection.sort()
    return selection, starved
