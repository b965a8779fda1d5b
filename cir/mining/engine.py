"""Negatives mined by arithmetic on arrays: any retriever's vectors, no files, no names.

Every query is compared with the whole gallery, because the rank of its target and the size of its
band are counts over the gallery; a top-k search ends before the band of a poorly ranked target
begins. The way of the data:

    borders     where each query's bands begin and end                  cir.mining.bands
    stream      the gallery passes by: counts, and pools of candidates  cir.mining.scan.stream, .scan
    choose      draws take their quotas from the pools                  cir.mining.selection

What is mined depends on neither block, tile, thread nor processor: distances are those of
`cir.mining.numerics.cosine`, equal ones are ordered by gallery row, chance hangs on query and row.

    problem = Problem(queries, targets, gallery, exclusions_of(known_answers))
    plan = Plan((Draw("any", 1.0, "semi-hard"),), num_negatives=5, margin=0.2)
    mined = mine(problem, plan)        # mined.rows[i]: gallery rows of query i's negatives
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Int8, Int64

from cir.errors import UsageError, VectorError
from cir.mining.bands import BandCounts, Borders, Keys, keys_at
from cir.mining.numerics.cosine import paired_distances
from cir.mining.plan import Plan
from cir.mining.problem import CandidatePool, FilterCounts, Mined, Problem
from cir.mining.scan.candidate_lists import Propose, scan_listed
from cir.mining.scan.request import ScanRequest, scan_request
from cir.mining.scan.result import ScanResult, merged_shards
from cir.mining.scan.sampling_keys import NEAREST
from cir.mining.scan.stream import TILE_SIZE, stream
from cir.mining.selection import PoolResult, Selection, choose, draw_pools, fill_pools, needs_pool
from cir.mining.sketch.product import fastest_dtype
from cir.processes import ALONE, Processes
from cir.progress import SILENT, Progress
from cir.types import NO_ROW, Band

_CPU: Final = torch.device("cpu")


def mine(
    problem: Problem,
    plan: Plan,
    *,
    device: torch.device = _CPU,
    block_size: int = 512,
    tile_size: int = TILE_SIZE,
    threads: int | None = None,
    arithmetic: torch.dtype | None = None,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
    propose: Propose | None = None,
) -> Mined:
    """Mines negatives for every query.

    Args:
        problem: What to mine in; its gallery is this process's shard.
        plan: What to mine for.
        device: Where the matrix products run, on CUDA or the CPU.
        block_size: Queries compared with a tile of the gallery at once, by each thread.
        tile_size: Gallery rows to a tile.
        threads: How many threads scan; by default one a usable core.
        arithmetic: Of the products that candidates are told apart by before any is compared in
            full: torch.bfloat16, torch.float32, or by default the faster here. It decides
            nothing.
        progress: Shows gallery images per second.
        processes: Those that hold the shards; each has the same queries, and gets the same.
        propose: Names the only candidates of each query, as an approximate index does; ranks and
            counts are then those among them, and a draw by chance draws from no others. By default
            the whole gallery is compared.

    Raises:
        VectorError: the gallery is empty, or the vectors are of several dimensions.
        UsageError: the plan draws by category, and the problem has none.
    """
    size = int(processes.summed(np.array([len(problem.gallery)]))[0])
    _require_fitting(problem, plan, size)
    scanner = _Scanner(
        problem,
        plan,
        size,
        device,
        block_size,
        tile_size,
        threads,
        arithmetic,
        progress,
        processes,
        propose,
    )
    every = np.arange(len(problem.queries))
    targets = paired_distances(problem.queries, every, problem.targets, every)
    borders = Borders.of(targets, plan)
    if plan.windowed:
        borders = Borders.of(targets, plan, scanner.window(borders))
    draws, fills = draw_pools(plan), fill_pools(plan)
    tally, (drawn, filling) = scanner.scan(borders, draws, fills, plan.num_negatives)
    hand, starved = choose(plan, drawn, filling)
    return Mined(
        rows=hand.rows,
        distances=hand.distances,
        kinds=_kinds(hand, borders),
        scopes=hand.scopes,
        target_distances=targets,
        target_ranks=(1 + tally.before("target").sum(axis=1)).astype(np.int32),
        candidates_in_band=_wanted(tally, plan).astype(np.int32),
        starved=starved,
        excluded=FilterCounts(
            relative_margin=tally.refused("relative_margin"),
            max_similarity=tally.refused("max_similarity"),
            ranks=tally.refused("range_min") + tally.refused("range_max"),
        ),
    )


class _Scanner:
    """Scans a problem's gallery, as often as a plan needs it."""

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        size: int,
        device: torch.device,
        block_size: int,
        tile_size: int,
        threads: int | None,
        arithmetic: torch.dtype | None,
        progress: Progress,
        processes: Processes,
        propose: Propose | None,
    ) -> None:
        self._problem, self._plan, self._size = problem, plan, size
        self._processes, self._propose = processes, propose
        self._device, self._block_size, self._progress = device, block_size, progress
        self._tile_size, self._threads = tile_size, threads
        self._dtype = arithmetic or fastest_dtype(device)
        self._scoped = any(draw.scope != "any" for draw in plan.draws)

    def scan(
        self,
        borders: Borders,
        draws: Sequence[CandidatePool],
        fills: Sequence[CandidatePool],
        kept: int,
        label: str = "mine",
    ) -> tuple[BandCounts, tuple[list[PoolResult], list[PoolResult]]]:
        """Counts before each border, and the best `kept` of each pool of draws and fills."""
        different = list(dict.fromkeys([*draws, *fills]))
        needed = needs_pool(self._plan, different, len(self._problem.queries))
        first_fill = len(set(draws))
        request = scan_request(
            self._problem, self._plan, borders, different, needed, first_fill, kept
        )
        found, valid = self._pass(request, label)
        found = merged_shards(found, self._processes)
        valid = self._processes.summed(valid)
        tally = BandCounts(tuple(borders.marks), _cells(found.counts_below), _cells(valid))
        offers = {
            pool: PoolResult(found.rows[:, place], found.distances[:, place], pool.scope)
            for place, pool in enumerate(different)
        }
        return tally, ([offers[pool] for pool in draws], [offers[pool] for pool in fills])

    def window(self, borders: Borders) -> tuple[Keys | None, Keys | None]:
        """The keys at the first rank that is eligible, and at the first that no longer is."""
        plan, last = self._plan, self._size
        kept = 1 + max(plan.range_min, plan.range_max or 0)
        every = Borders(borders.targets, borders.margins, {}, bounded=False)
        pool = CandidatePool("any", "any", NEAREST, 0)
        _, ((offer,), _) = self.scan(every, [pool], [], min(kept, last), "rank")
        return (
            _keys_at_rank(offer, plan.range_min) if plan.range_min else None,
            None if plan.range_max is None else _keys_at_rank(offer, plan.range_max),
        )

    def _pass(
        self, request: ScanRequest, label: str
    ) -> tuple[ScanResult, Int64[np.ndarray, "queries two"]]:
        """What the gallery holds, or the candidates proposed of it; and `_valid` among these."""
        block_size, progress = self._block_size, self._progress
        tile_size, threads = self._tile_size, self._threads
        if self._propose is not None:
            return scan_listed(
                request,
                self._propose,
                block_size,
                progress,
                label,
                tile_size=tile_size,
                threads=threads,
            )
        result = stream(
            request,
            self._dtype,
            self._device,
            block_size,
            progress,
            label,
            tile_size=tile_size,
            threads=threads,
        )
        return result, self._valid()

    def _valid(self) -> Int64[np.ndarray, "queries two"]:
        """Valid candidates of each query in the shard: all, and those of its category."""
        problem, count = self._problem, len(self._problem.queries)
        queries, rows = problem.exclusions.pairs()
        every = len(problem.gallery) - np.bincount(queries, minlength=count)
        own = np.zeros(count, dtype=np.int64)
        if self._scoped and problem.members is not None and problem.categories is not None:
            barred = problem.members[problem.categories[queries], rows]
            sizes = problem.members.sum(axis=1)[problem.categories]
            own = sizes - np.bincount(queries[barred], minlength=count)
        return np.stack([every, own], axis=1)


def _keys_at_rank(offer: PoolResult, rank: int) -> Keys:
    """The key of the candidate that so many come before; past the end where there is none."""
    if rank >= offer.rows.shape[1]:
        nobody = np.full(len(offer.rows), np.inf, dtype=np.float32)
        return keys_at(nobody)
    rows, distances = offer.rows[:, rank], offer.distances[:, rank]
    return Keys(np.where(rows == NO_ROW, np.float32(np.inf), distances), rows)


def _cells(counts: Int64[np.ndarray, "*counted two"]) -> Int64[np.ndarray, "*counted two"]:
    """(all, own category) as (own category, other categories)."""
    every, own = counts[..., 0], counts[..., 1]
    return np.stack([own, every - own], axis=-1)


def _wanted(tally: BandCounts, plan: Plan) -> Int64[np.ndarray, " queries"]:
    """Eligible candidates that any of the draws could give."""
    wanted = np.zeros(len(tally.valid), dtype=np.int64)
    for cell, scope in enumerate(("same-category", "other-category")):
        bands: set[Band] = {draw.band for draw in plan.draws if draw.scope in (scope, "any")}
        if "any" in bands:
            bands = {"any"}
        for band in bands:
            wanted += tally.of(band)[:, cell]
    return wanted


def _kinds(hand: Selection, borders: Borders) -> Int8[np.ndarray, "queries negatives"]:
    kinds = np.zeros(hand.rows.shape, dtype=np.int8)
    at = np.nonzero(hand.rows != NO_ROW)
    kinds[at] = borders.kinds(at[0], hand.distances[at])
    return kinds


def _require_fitting(problem: Problem, plan: Plan, size: int) -> None:
    if not size or not problem.gallery.shape[1]:
        raise VectorError("the gallery holds no vectors: nothing can be mined")
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
