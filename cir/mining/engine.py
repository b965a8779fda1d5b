"""Negatives mined by arithmetic on arrays: any retriever's vectors, no files, no names.

Every query is compared with the whole gallery, a block of queries at a time, because the rank of
its target and the size of its band are counts over the gallery; a top-k search ends before the
band of a poorly ranked target begins. What is mined depends on neither block nor thread: bands and
order are decided by `cir.mining.similarity`, equal distances by gallery row, chance by query
number.

    problem = Problem(queries, targets, gallery, exclusions_of(known_answers))
    plan = Plan((Draw("any", 1.0, "semi-hard"),), num_negatives=5, margin=0.2)
    mined = mine(problem, plan)        # mined.rows[i]: gallery rows of query i's negatives
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int8, Int32, Int64

from cir.errors import UsageError, VectorError
from cir.mining.bands import Bands, Borders, find_bands
from cir.mining.draws import Dice, Drawn, draw_nearest, draw_uniformly
from cir.mining.index import FlatIndex
from cir.mining.similarity import paired_distances
from cir.mining.validity import Exclusions
from cir.progress import SILENT, Progress
from cir.types import SCOPES, Band, Scope
from cir.workers import pick_workers

NONE: Final = -1
"""The row that stands for no negative."""

_CPU: Final = torch.device("cpu")
_CHUNK: Final = 1 << 19
"""Distances looked at together by one thread: few enough to stay in the processor's cache."""
_GOLDEN: Final = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Draw:
    """A share of each query's negatives: where they come from, and of which kind."""

    scope: Scope
    share: float
    band: Band


@dataclass(frozen=True)
class Plan:
    """Which negatives a query gets."""

    draws: tuple[Draw, ...]
    """Served in this order; no candidate is drawn twice. Their shares add up to 1."""
    num_negatives: int
    margin: float
    sampling: Literal["top", "random"] = "top"
    """Whether a band gives its nearest members or a uniform sample. The band `any` is always
    sampled: its nearest members are no sample of any candidate, but the hardest ones."""
    fill: Literal["nearest", "random"] | None = "nearest"
    """How a starved query is filled up: from outside the band, first within the scope of the draw
    that fell short, then in the whole gallery; None leaves it short."""
    seed: int = 0

    def quota(self, numbers: Int64[np.ndarray, " queries"]) -> Int64[np.ndarray, "queries draws"]:
        """How many negatives each draw gives each query: whole numbers that add up exactly.

        Systematic sampling (Madow, 1949): the cumulated shares of `num_negatives` are shifted by an
        offset in [0, 1) and rounded down. The offsets of successive queries are multiples of the
        golden ratio, which spread so evenly that the shares hold over any run of queries.
        """
        offsets = np.modf(numbers * _GOLDEN + np.random.default_rng(self.seed).random())[0]
        bounds = np.cumsum([0.0, *(draw.share for draw in self.draws)]) * self.num_negatives
        bounds[-1] = self.num_negatives
        return np.diff(np.floor(bounds + offsets[:, None]).astype(np.int64), axis=1)


@dataclass(frozen=True, eq=False)
class Problem:
    """Unit vectors, and what may not be paired."""

    queries: Float32[np.ndarray, "queries dim"]
    targets: Float32[np.ndarray, "queries dim"]
    """The target of each query; it need not be in the gallery."""
    gallery: Float32[np.ndarray, "gallery dim"]
    exclusions: Exclusions
    """Gallery rows that are no negatives of a query."""
    categories: Int64[np.ndarray, " queries"] | None = None
    """The category of each query, for scopes other than `any`."""
    members: Bool[np.ndarray, "categories gallery"] | None = None
    """Which gallery rows are of each category; one may be of several."""


@dataclass(frozen=True, eq=False)
class Mined:
    """What `mine` found; row i of each field is query i. Negatives stand nearest first."""

    rows: Int64[np.ndarray, "queries negatives"]
    """Gallery rows; `NONE` behind the last negative of a query that got fewer."""
    distances: Float32[np.ndarray, "queries negatives"]
    kinds: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.KINDS`."""
    scopes: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.SCOPES`: where each was drawn from."""
    target_distances: Float32[np.ndarray, " queries"]
    target_ranks: Int32[np.ndarray, " queries"]
    """1 + the number of valid candidates nearer than the target."""
    candidates_in_band: Int32[np.ndarray, " queries"]
    """Valid candidates that any of the draws could have given."""
    starved: Bool[np.ndarray, " queries"]
    """Whether the bands held fewer than the wanted number."""

    @property
    def counts(self) -> Int64[np.ndarray, " queries"]:
        """Negatives of each query."""
        counts: Int64[np.ndarray, " queries"] = (self.rows != NONE).sum(axis=1)
        return counts


def mine(
    problem: Problem,
    plan: Plan,
    *,
    device: torch.device = _CPU,
    block_size: int = 256,
    progress: Progress = SILENT,
) -> Mined:
    """Mines negatives for every query.

    Args:
        problem: What to mine in.
        plan: What to mine for.
        device: Where the matrix products run, on CUDA or the CPU.
        block_size: Queries compared with the gallery at once. Memory is bounded by this many rows
            of the gallery's length.
        progress: Shows queries per second.

    Raises:
        VectorError: the gallery is empty, or the vectors are of several dimensions.
        UsageError: the plan draws by category, and the problem has none.
    """
    _require_fitting(problem, plan)
    miner = _Miner(problem, plan)
    index, count = FlatIndex(problem.gallery, device), len(problem.queries)
    buffer = np.empty((min(block_size, count), len(problem.gallery)), dtype=np.float32)
    with (
        progress.task("mine", count, "queries") as task,
        ThreadPoolExecutor(pick_workers(None)) as pool,
    ):
        for start in range(0, count, block_size):
            block = slice(start, min(start + block_size, count))
            similarities = buffer[: block.stop - start]
            index.similarities(problem.queries[block], out=similarities)
            chunks = list(_chunks(block, len(problem.gallery)))
            parts = [similarities[c.start - start : c.stop - start] for c in chunks]
            for _ in pool.map(miner.serve, chunks, parts):
                pass
            task.advance(block.stop - start)
    return miner.mined


def _require_fitting(problem: Problem, plan: Plan) -> None:
    dims = {table.shape[1] for table in (problem.queries, problem.targets, problem.gallery)}
    if len(dims) > 1:
        raise VectorError(
            f"queries, targets and gallery are of {sorted(dims)} dimensions; expected one"
        )
    if not len(problem.queries) == len(problem.targets) == len(problem.exclusions):
        raise VectorError(
            f"{len(problem.queries)} queries have {len(problem.targets)} targets and "
            f"{len(problem.exclusions)} lists of exclusions; expected one of each a query"
        )
    by_category = any(draw.scope != "any" for draw in plan.draws)
    if by_category and (problem.categories is None or problem.members is None):
        raise UsageError("the plan draws by category; the problem says no categories and members")


def _chunks(block: slice, gallery: int) -> Iterator[slice]:
    size = max(1, _CHUNK // gallery)
    for start in range(block.start, block.stop, size):
        yield slice(start, min(start + size, block.stop))


class _Miner:
    """Serves chunks of queries, in any order and several at once, into one result."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        count = len(problem.queries)
        every = np.arange(count)
        self._problem, self._plan = problem, plan
        targets = paired_distances(problem.queries, every, problem.targets, every)
        self._borders = Borders.around(targets, plan.margin)
        shape = (count, plan.num_negatives)
        self.mined = Mined(
            rows=np.full(shape, NONE, dtype=np.int64),
            distances=np.full(shape, np.nan, dtype=np.float32),
            kinds=np.zeros(shape, dtype=np.int8),
            scopes=np.zeros(shape, dtype=np.int8),
            target_distances=targets,
            target_ranks=np.zeros(count, dtype=np.int32),
            candidates_in_band=np.zeros(count, dtype=np.int32),
            starved=np.zeros(count, dtype=np.bool_),
        )

    def serve(self, chunk: slice, similarities: Float32[np.ndarray, "chunk gallery"]) -> None:
        """Mines for the queries of `chunk`; `similarities` is overwritten."""
        problem, borders = self._problem, self._borders.take(chunk)
        bands = find_bands(
            similarities,
            problem.queries[chunk],
            problem.gallery,
            problem.exclusions.pairs(chunk),
            borders,
        )
        hand = _Hand(problem, self._plan, bands, np.arange(chunk.start, chunk.stop))
        hand.draw()
        mined = self.mined
        mined.starved[chunk] = hand.count < self._plan.num_negatives
        mined.target_ranks[chunk] = 1 + _counts(bands.hard)
        mined.candidates_in_band[chunk] = _counts(hand.wanted())
        if self._plan.fill:
            hand.fill(self._plan.fill)
        self._record(chunk, hand, borders)

    def _record(self, chunk: slice, hand: "_Hand", borders: Borders) -> None:
        """Writes a chunk's negatives, nearest first, equal distances by gallery row."""
        queries, rows, scopes = hand.held()
        problem, mined = self._problem, self.mined
        distances = paired_distances(problem.queries[chunk], queries, problem.gallery, rows)
        order = np.lexsort((rows, distances, queries))
        queries, rows, distances = queries[order], rows[order], distances[order]
        starts = np.cumsum(hand.count) - hand.count
        at = (queries + chunk.start, np.arange(len(queries)) - starts[queries])
        mined.rows[at] = rows
        mined.distances[at] = distances
        mined.kinds[at] = borders.kinds(queries, distances)
        mined.scopes[at] = scopes[order]


@dataclass(eq=False)
class _Hand:
    """The negatives drawn so far for a chunk of queries."""

    problem: Problem
    plan: Plan
    bands: Bands
    numbers: Int64[np.ndarray, " chunk"]
    """What each query is in the problem."""
    drawn: list[tuple[Drawn, Scope]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.count = np.zeros(len(self.numbers), dtype=np.int64)
        """Negatives of each query."""
        self._short = self.plan.quota(self.numbers)
        """What each draw still owes each query."""

    def draw(self) -> None:
        """Draws from the band of each draw."""
        for place, draw in enumerate(self.plan.draws):
            sampled = self.plan.sampling == "random" or draw.band == "any"
            self._short[:, place] -= self._take(
                place, draw.scope, draw.band, self._short[:, place], nearest=not sampled
            )

    def fill(self, how: Literal["nearest", "random"]) -> None:
        """Fills up the queries whose bands fell short, in each draw's scope and then anywhere."""
        nearest, draws = how == "nearest", self.plan.draws
        for place, draw in enumerate(draws):
            owed = self._short[:, place]
            self._take(len(draws) + place, draw.scope, "any", owed, nearest=nearest)
        owed = self.plan.num_negatives - self.count
        self._take(2 * len(draws), "any", "any", owed, nearest=nearest)

    def wanted(self) -> Bool[np.ndarray, "chunk gallery"]:
        """The candidates that any of the draws could give."""
        union = self._candidates(self.plan.draws[0].scope, self.plan.draws[0].band)
        for draw in self.plan.draws[1:]:
            union = union | self._candidates(draw.scope, draw.band)
        return union

    def held(
        self,
    ) -> tuple[
        Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"], Int8[np.ndarray, " pairs"]
    ]:
        """(query within the chunk, gallery row, scope) of every negative."""
        scopes = [np.full(len(d.rows), SCOPES.index(scope), np.int8) for d, scope in self.drawn]
        return (
            np.concatenate([d.queries for d, _ in self.drawn]),
            np.concatenate([d.rows for d, _ in self.drawn]),
            np.concatenate(scopes),
        )

    def _take(
        self,
        throw: int,
        scope: Scope,
        band: Band,
        wanted: Int64[np.ndarray, " chunk"],
        *,
        nearest: bool,
    ) -> Int64[np.ndarray, " chunk"]:
        """Draws up to `wanted` new candidates for each query; how many there were.

        `throw` tells this draw from the others of a query, whatever the chunk's other queries need.
        """
        asking = np.flatnonzero(wanted)
        got = np.zeros_like(wanted)
        if asking.size:
            drawn = self._drawn(throw, scope, band, wanted, asking, nearest=nearest)
            self.drawn.append((drawn, scope))
            got = drawn.counts(len(wanted))
            self.count += got
        return got

    def _drawn(
        self,
        throw: int,
        scope: Scope,
        band: Band,
        wanted: Int64[np.ndarray, " chunk"],
        asking: Int64[np.ndarray, " asking"],
        *,
        nearest: bool,
    ) -> Drawn:
        """Draws for the queries of the chunk that ask, none of what they hold already."""
        some = slice(None) if len(asking) == len(wanted) else asking
        free = self._candidates(scope, band)[some].copy()
        at = np.full(len(wanted), NONE)
        at[asking] = np.arange(len(asking))
        for held, _ in self.drawn:
            ours = at[held.queries] != NONE
            free[at[held.queries[ours]], held.rows[ours]] = False
        numbers = self.numbers[some]
        if nearest:
            drawn = draw_nearest(
                free,
                wanted[some],
                self.bands.nearly[some],
                self.bands.error,
                self.problem.queries[numbers],
                self.problem.gallery,
            )
        else:
            dice = Dice(self.plan.seed, throw)
            drawn = draw_uniformly(free, wanted[some], numbers, dice)
        return Drawn(asking[drawn.queries], drawn.rows)

    def _candidates(self, scope: Scope, band: Band) -> Bool[np.ndarray, "chunk gallery"]:
        """The valid candidates of one kind in one scope."""
        found = self.bands.of(band)
        if scope == "any":
            return found
        members, categories = self.problem.members, self.problem.categories
        if members is None or categories is None:
            raise UsageError(f"the scope {scope} needs categories")
        own = members[categories[self.numbers]]
        inside: Bool[np.ndarray, "chunk gallery"] = own if scope == "same-category" else ~own
        both: Bool[np.ndarray, "chunk gallery"] = found & inside
        return both


def _counts(mask: Bool[np.ndarray, "queries gallery"]) -> Int64[np.ndarray, " queries"]:
    """True values in each row: a row at a time, which NumPy counts fastest."""
    return np.array([np.count_nonzero(row) for row in mask], dtype=np.int64)
