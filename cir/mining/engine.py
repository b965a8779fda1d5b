"""Mining on plain arrays: the vectors of any retriever, without files or ids.

Every query is compared with the whole gallery, because the rank of its target and the size of its
band are counts over the gallery. A top-k search does not suffice: the semi-hard band of a query
begins behind its target, and targets may rank far below k. Mining takes three steps:

    bands       where each query's bands begin and end                     cir.mining.bands
    scan        the gallery streams by: counts, and pools of candidates    cir.mining.scan
                the same wholly on a GPU                                   cir.mining.device
    selection   draws take their quotas from the pools                     cir.mining.selection

The result depends on neither block, tile, thread nor processor: distances are those of
`cir.mining.numerics.cosine`, equal ones are ordered by gallery row, and every random number is a
hash of the seed, the draw, the query and the gallery row.

    problem = Problem(queries, targets, gallery, exclusions_of(known_answers))
    plan = Plan((Draw("any", 1.0, "semi-hard"),), num_negatives=5, margin=0.2)
    mined = mine(problem, plan)        # mined.rows[i]: gallery rows of query i's negatives
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int8, Int64

from cir import arguments
from cir.errors import UsageError, VectorError
from cir.machine.processes import ALONE, Processes
from cir.mining.arguments import mining_device
from cir.mining.bands import BandCounts, Borders, Interval, Keys, keys_at
from cir.mining.device.stream import stream as stream_on_device
from cir.mining.machine import Machine
from cir.mining.numerics.cosine import paired_distances
from cir.mining.plan import Plan
from cir.mining.problem import CandidatePool, FilterCounts, Mined, Problem
from cir.mining.scan.candidate_lists import Propose, scan_listed
from cir.mining.scan.nearest_first import Search, scan_nearest_first
from cir.mining.scan.request import ScanRequest, scan_request
from cir.mining.scan.result import ScanResult, merged_shards
from cir.mining.scan.sampling_keys import NEAREST
from cir.mining.scan.stream import stream
from cir.mining.selection import PoolResult, Selection, choose, draw_pools, fill_pools, needs_pool
from cir.mining.steep_drops import between_steepest_drops
from cir.progress import SILENT, Progress
from cir.types import NO_ROW


def mine(
    problem: Problem,
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    block_size: int = Machine.block_size,
    tile_size: int | None = None,
    threads: int | None = None,
    arithmetic: torch.dtype | None = None,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
    propose: Propose | None = None,
    search: Search | None = None,
) -> Mined:
    """Mines negatives for every query.

    Args:
        problem: The vectors, and the exclusions; its gallery is this process's shard.
        plan: How many negatives a query gets, and which.
        device: Where candidates are compared and chosen: a device or its name. Mining runs on CUDA
            or the CPU; `auto` is CUDA where there is one, and Apple's MPS, which has no float64, is
            the CPU.
        block_size: Queries compared with a tile of the gallery at once, by each thread.
        tile_size: Gallery rows in a tile; by default as many as suit the device. On the CPU 32,767
            is the most, and more is taken as that.
        threads: How many threads scan on the CPU; by default one a usable core.
        arithmetic: Number format of the sketch on the CPU, the cheap products that rule most
            candidates out: torch.int16, torch.bfloat16, torch.float32, or by default the fastest
            here. The result is the same.
        progress: Shows gallery images per second.
        processes: Those that hold a shard each; all pass the same queries and plan, and all return
            the same.
        propose: Gives the only candidates of each query, as an approximate index does; ranks and
            counts are then those among them, and random draws take no others. By default every
            query is compared with the whole gallery.
        search: Gives the rows of greatest float32 product with each query, as an exact index does,
            and the products. Queries whose bands reach beyond them are compared with the whole
            gallery: the result is the same.

    Raises:
        VectorError: the gallery is empty.
        UsageError: an argument is not what is said here, or the plan draws by category and the
            problem has none.
    """
    arguments.instance("problem", problem, Problem)
    arguments.instance("plan", plan, Plan)
    for name, given in (("propose", propose), ("search", search)):
        arguments.require(name, given, "a function", holds=given is None or callable(given))
    machine = Machine(
        device=mining_device(device),
        block_size=block_size,
        tile_size=tile_size,
        threads=threads,
        arithmetic=arithmetic,
        progress=progress,
        processes=processes,
    )
    return mine_on(machine, problem, plan, propose=propose, search=search)


def mine_on(
    machine: Machine,
    problem: Problem,
    plan: Plan,
    *,
    propose: Propose | None = None,
    search: Search | None = None,
) -> Mined:
    """Mines as `mine` does, on a machine that is described already."""
    scanner = _Scanner(problem, plan, machine, propose, search)
    queries = np.arange(len(problem.queries))
    target_distances = paired_distances(
        problem.queries, queries, problem.targets, problem.rows_of_targets
    )
    borders = Borders.of(target_distances, plan)
    window = scanner.window(borders) if plan.windowed else (None, None)
    adaptive = scanner.adaptive(borders) if plan.adaptive else None
    borders = Borders.of(target_distances, plan, window, adaptive)
    scanned = scanner.scan(borders, draw_pools(plan), fill_pools(plan), plan.num_negatives)
    selection, starved = choose(plan, scanned.draws, scanned.fills)
    return _mined(plan, borders, scanned.counts, selection, starved)


def _mined(
    plan: Plan,
    borders: Borders,
    counts: BandCounts,
    selection: Selection,
    starved: Bool[np.ndarray, " queries"],
) -> Mined:
    return Mined(
        rows=selection.rows,
        distances=selection.distances,
        kinds=_kinds(selection, borders),
        scopes=selection.scopes,
        target_distances=borders.targets,
        target_ranks=(1 + counts.below("target").sum(axis=1)).astype(np.int32),
        candidates_in_band=_candidates_in_band(counts, plan).astype(np.int32),
        starved=starved,
        excluded=FilterCounts(
            relative_margin=counts.excluded("relative_margin"),
            max_similarity=counts.excluded("max_similarity"),
            ranks=counts.excluded("range_min") + counts.excluded("range_max"),
        ),
    )


@dataclass(frozen=True, eq=False)
class _Scanned:
    """The counts of a scan, and what its pools hold."""

    counts: BandCounts
    draws: list[PoolResult]
    """One for each draw that has a share; draws of equal pools share one."""
    fills: list[PoolResult]
    """One for each fill."""


class _Scanner:
    """Scans a problem's gallery, as often as a plan needs it."""

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        machine: Machine,
        propose: Propose | None,
        search: Search | None,
    ) -> None:
        self._problem, self._plan = problem, plan
        self._machine = replace(machine, device=mining_device(machine.device))
        self._propose, self._search = propose, search
        self._gallery = int(machine.processes.summed(np.array([len(problem.gallery)]))[0])
        """Rows of all shards."""
        _require_fitting(problem, plan, self._gallery)

    def scan(
        self,
        borders: Borders,
        draws: Sequence[CandidatePool],
        fills: Sequence[CandidatePool],
        kept: int,
        label: str = "mine",
    ) -> _Scanned:
        """Counts below each threshold, and keeps the best `kept` of each pool."""
        pools, processes = list(dict.fromkeys([*draws, *fills])), self._machine.processes
        needed = needs_pool(self._plan, pools, len(self._problem.queries))
        first_fill = len(set(draws))
        request = scan_request(self._problem, self._plan, borders, pools, needed, first_fill, kept)
        result, valid = self._result(request, label)
        result, valid = merged_shards(result, processes), processes.summed(valid)
        in_pool = {
            pool: PoolResult(result.rows[:, column], result.distances[:, column], pool.scope)
            for column, pool in enumerate(pools)
        }
        return _Scanned(
            BandCounts(tuple(borders.thresholds), _by_scope(result.counts_below), _by_scope(valid)),
            [in_pool[pool] for pool in draws],
            [in_pool[pool] for pool in fills],
        )

    def window(self, borders: Borders) -> tuple[Keys | None, Keys | None]:
        """Turns `range_min` and `range_max` into keys, by a scan for the nearest candidates.

        Returns:
            The first key that is eligible, and the first that no longer is; None where the plan
            sets no such rank.
        """
        plan = self._plan
        kept = min(1 + max(plan.range_min, plan.range_max or 0), self._gallery)
        nearest = self._nearest(borders, {}, kept, "rank")
        return (
            _keys_at_rank(nearest, plan.range_min) if plan.range_min else None,
            None if plan.range_max is None else _keys_at_rank(nearest, plan.range_max),
        )

    def adaptive(self, borders: Borders) -> Interval:
        """Finds the steepest drops of each query, by a scan for the nearest beyond its target."""
        kept = min(self._plan.drop_window, self._gallery)
        nearest = self._nearest(borders, {"beyond": borders.beyond}, kept, "drops")
        return between_steepest_drops(nearest.distances, nearest.rows, borders.beyond)

    def _nearest(
        self, borders: Borders, first: dict[str, Keys], kept: int, label: str
    ) -> PoolResult:
        """The nearest valid candidates from some keys on, whatever the plan's filters exclude."""
        unfiltered = Borders(borders.targets, borders.margins, first, bounded=False)
        pool = CandidatePool("any", "any", NEAREST, 0)
        return self.scan(unfiltered, [pool], [], kept, label).draws[0]

    def _result(
        self, request: ScanRequest, label: str
    ) -> tuple[ScanResult, Int64[np.ndarray, "queries two"]]:
        """Scans the gallery, or the proposed candidates; with the `_valid` of those scanned."""
        if self._propose is not None:
            return scan_listed(request, self._propose, self._machine, label)
        if self._search is not None and len(request) and len(request.gallery):
            return self._nearest_first(request, self._search, label), self._valid()
        return self._streamed(request, label), self._valid()

    def _nearest_first(self, request: ScanRequest, search: Search, label: str) -> ScanResult:
        """Scans the nearest candidates, and the gallery for the queries that these leave open."""

        def finish(open_queries: ScanRequest) -> ScanResult:
            return self._streamed(open_queries, f"{label}: all")

        return scan_nearest_first(request, search, finish, self._machine, label)

    def _streamed(self, request: ScanRequest, label: str) -> ScanResult:
        """Scans the gallery, on the CPU or wholly on another device."""
        scan = stream if self._machine.device.type == "cpu" else stream_on_device
        return scan(request, self._machine, label)

    def _valid(self) -> Int64[np.ndarray, "queries two"]:
        """Valid candidates of each query in the shard: all, and those of its category."""
        problem, count = self._problem, len(self._problem.queries)
        queries, rows = problem.exclusions.pairs()
        everywhere = len(problem.gallery) - np.bincount(queries, minlength=count)
        in_category = np.zeros(count, dtype=np.int64)
        categories, members = problem.categories, problem.members
        if self._plan.by_category and categories is not None and members is not None:
            excluded = members[categories[queries], rows]
            sizes = members.sum(axis=1)[categories]
            in_category = sizes - np.bincount(queries[excluded], minlength=count)
        return np.stack([everywhere, in_category], axis=1)


def _keys_at_rank(pool: PoolResult, rank: int) -> Keys:
    """The key of the candidate at a rank from 0 on; an infinite one where a query has fewer."""
    infinity = np.float32(np.inf)
    if rank >= pool.rows.shape[1]:
        return keys_at(np.full(len(pool.rows), infinity))
    rows, distances = pool.rows[:, rank], pool.distances[:, rank]
    return Keys(np.where(rows == NO_ROW, infinity, distances), rows)


def _by_scope(counts: Int64[np.ndarray, "*counted two"]) -> Int64[np.ndarray, "*counted two"]:
    """Turns counts of (all, own category) into counts of (own category, other categories)."""
    everywhere, in_category = counts[..., 0], counts[..., 1]
    return np.stack([in_category, everywhere - in_category], axis=-1)


def _candidates_in_band(counts: BandCounts, plan: Plan) -> Int64[np.ndarray, " queries"]:
    """Eligible candidates that any of the draws could give."""
    total = np.zeros(len(counts.valid), dtype=np.int64)
    for column, scope in enumerate(("same-category", "other-category")):
        bands = {draw.band for draw in plan.draws if draw.scope in (scope, "any")}
        total += counts.in_bands(bands)[:, column]
    return total


def _kinds(selection: Selection, borders: Borders) -> Int8[np.ndarray, "queries negatives"]:
    kinds = np.zeros(selection.rows.shape, dtype=np.int8)
    filled = np.nonzero(selection.rows != NO_ROW)
    kinds[filled] = borders.kinds(filled[0], selection.distances[filled])
    return kinds


def _require_fitting(problem: Problem, plan: Plan, gallery: int) -> None:
    if not gallery or not problem.gallery.shape[1]:
        raise VectorError("the gallery holds no vectors: nothing can be mined")
    if plan.by_category and (problem.categories is None or problem.members is None):
        raise UsageError(
            "the plan draws by category; expected a problem with `categories` and `members`"
        )
