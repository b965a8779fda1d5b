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

_AT_ONCE: Final = 1 << 22
"""Comparisons of held with offered candidates made together, which bounds the memory."""


def draw_pools(plan: Plan) -> list[CandidatePool]:
    """The pool of each draw that has a share."""
    return [
        _pool(draw.scope, draw.band, _priority(plan, draw.band), draw_index)
        for draw_index, draw in enumerate(plan.shared)
    ]


def fill_pools(plan: Plan) -> list[CandidatePool]:
    """The pools that make up for each of those draws, and the last for what is still missing."""
    if plan.fill is None:
        return []
    priority = NEAREST if plan.fill == "nearest" else UNIFORM
    scopes: list[Scope] = [*(draw.scope for draw in plan.shared), "any"]
    return [_pool(scope, "any", priority, len(scopes) + n) for n, scope in enumerate(scopes)]


def needs_pool(
    plan: Plan, pools: Sequence[CandidatePool], queries: int
) -> Bool[np.ndarray, "queries pools"]:
    """Which queries may take from each pool: all, but where its draws owe a query nothing."""
    owed = plan.quota(np.arange(queries))[:, [draw.share > 0 for draw in plan.draws]] > 0
    drawn, fills = draw_pools(plan), set(fill_pools(plan))
    taking = np.ones((queries, len(pools)), dtype=np.bool_)
    for place, pool in enumerate(pools):
        own = [draw for draw, each in enumerate(drawn) if each == pool]
        if own and pool not in fills:
            taking[:, place] = owed[:, own].any(axis=1)
    return taking


def _pool(scope: Scope, band: Band, priority: int, draw_index: int) -> CandidatePool:
    """Pools without chance are the same whichever draw they are for."""
    return CandidatePool(scope, band, priority, 0 if priority == NEAREST else draw_index)


def _priority(plan: Plan, band: Band) -> int:
    if plan.sampling == "softmax":
        return SOFTMAX
    return UNIFORM if plan.sampling == "random" or band == "any" else NEAREST


@dataclass(frozen=True, eq=False)
class PoolResult:
    """What a pool holds for each query, the best first."""

    rows: Int64[np.ndarray, "queries kept"]
    """`NO_ROW` behind the last."""
    distances: Float32[np.ndarray, "queries kept"]
    scope: Scope


class Selection:
    """The negatives chosen so far."""

    def __init__(self, queries: int, num_negatives: int) -> None:
        shape = (queries, num_negatives)
        self.rows = np.full(shape, NO_ROW, dtype=np.int64)
        self.distances = np.full(shape, np.nan, dtype=np.float32)
        self.scopes = np.zeros(shape, dtype=np.int8)
        self.count = np.zeros(queries, dtype=np.int64)
        """Negatives of each query."""

    def take(
        self, offer: PoolResult, wanted: Int64[np.ndarray, " queries"]
    ) -> Int64[np.ndarray, " queries"]:
        """Takes up to `wanted` of an offer for each query, none that it holds; how many."""
        taken = np.zeros_like(wanted)
        step = max(1, _AT_ONCE // (offer.rows.shape[1] * self.rows.shape[1]))
        asking = np.flatnonzero(wanted)
        for start in range(0, len(asking), step):
            part = asking[start : start + step]
            taken[part] = self._take(offer, wanted, part)
        return taken

    def sort(self) -> None:
        """Orders negatives by (distance, gallery row)."""
        last = np.where(self.rows == NO_ROW, np.inf, self.distances)
        order = np.lexsort((self.rows, last), axis=1)
        self.rows = np.take_along_axis(self.rows, order, axis=1)
        self.distances = np.take_along_axis(self.distances, order, axis=1)
        self.scopes = np.take_along_axis(self.scopes, order, axis=1)

    def _take(
        self,
        offer: PoolResult,
        wanted: Int64[np.ndarray, " queries"],
        part: Int64[np.ndarray, " part"],
    ) -> Int64[np.ndarray, " part"]:
        rows = offer.rows[part]
        held = (rows[:, :, None] == self.rows[part][:, None, :]).any(axis=2)
        new = (rows != NO_ROW) & ~held
        place = np.cumsum(new, axis=1) - 1
        taken: Bool[np.ndarray, "part kept"] = new & (place < wanted[part, None])
        queries, columns = np.nonzero(taken)
        at = (part[queries], self.count[part[queries]] + place[queries, columns])
        self.rows[at] = rows[queries, columns]
        self.distances[at] = offer.distances[part[queries], columns]
        self.scopes[at] = SCOPES.index(offer.scope)
        counts: Int64[np.ndarray, " part"] = taken.sum(axis=1)
        self.count[part] += counts
        return counts


def choose(
    plan: Plan, draws: list[PoolResult], fills: list[PoolResult]
) -> tuple[Selection, Bool[np.ndarray, " queries"]]:
    """Serves the draws and then the fills; the negatives, and which queries were starved."""
    queries = len(draws[0].rows)
    hand, quota = Selection(queries, plan.num_negatives), plan.quota(np.arange(queries))
    short = quota[:, [draw.share > 0 for draw in plan.draws]]
    for place, offer in enumerate(draws):
        short[:, place] -= hand.take(offer, short[:, place])
    starved = hand.count < plan.num_negatives
    for place, offer in enumerate(fills):
        missing = plan.num_negatives - hand.count
        owed = short[:, place] if place < len(draws) else missing
        hand.take(offer, np.minimum(owed, missing))
    hand.sort()
    return hand, starved
