"""Mining through an index of FAISS: a flat one, which is exact, or one that says how far off it is.

An approximate index proposes a bounded number of candidates for each query, its nearest or most of
them. Over these all is as exact as over the gallery: bands, filters, ranks and fills are those that
`cir.mining.engine` finds among the candidates. What the index misses is missed, and so is what lies
beyond the candidates: therefore a sample of the queries is mined exactly as well, and compared.
"""

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Bool, Int32, Int64

from cir.artefacts.manifest_metadata import Approximation
from cir.config import Index, IndexKind
from cir.errors import UsageError
from cir.machine.processes import Processes
from cir.mining.engine import mine_on
from cir.mining.faiss_index import GPU_MOST, CandidateIndex, FlatIndex
from cir.mining.machine import Machine
from cir.mining.plan import Plan
from cir.mining.problem import Mined, Problem
from cir.mining.scan.sampling_keys import NEAREST
from cir.mining.selection import draw_pools, fill_pools
from cir.progress import SILENT
from cir.types import NO_ROW

EXACT_PAIRS: Final = 10**12
"""Pairs of a query and an image up to which `auto` compares them all: an hour to an hour and a half
of two cores, at four to five nanoseconds a pair. An index may be quicker by then, but finds a
smaller share of the negatives the larger the gallery: a quarter among a million."""

_SAMPLE: Final = 256
"""Queries that an approximate run is measured by."""


def mine_through(
    problem: Problem,
    plan: Plan,
    index: Index,
    candidates: int,
    machine: Machine,
) -> tuple[Mined, Approximation | None]:
    """Mines exactly, or among the candidates that an approximate index proposes.

    Args:
        problem: What to mine in.
        plan: What to mine for.
        index: flat is exact, by the scan of `cir.mining.engine`; faiss is exact too: a flat index
            of FAISS proposes the nearest, and the scan finishes what these leave open; auto is flat
            up to `EXACT_PAIRS`, and ivf beyond where that can serve the plan.
        candidates: How many an index proposes for each query; a flat one, at most `GPU_MOST`.
        machine: How mining runs; `faiss` and `ivf` search on its device too.

    Returns:
        What was mined, and how far off it is; None where it is exact.

    Raises:
        UsageError: the plan or the processes need every candidate, or the gallery is too small for
            the index.
        VectorError: as `mine`.
    """
    kind = _chosen(problem, plan, index, candidates, machine.processes)
    if kind is None:
        search = None
        if index == "faiss" and len(problem.gallery):
            flat = FlatIndex(problem.gallery, machine.device)
            search = partial(flat.search, k=min(candidates, GPU_MOST))
        return mine_on(machine, problem, plan, search=search), None
    proposing = CandidateIndex(problem.gallery, kind, candidates, machine.device, machine.progress)
    mined = mine_on(machine, problem, plan, propose=proposing.propose)
    return mined, measured(problem, plan, proposing, machine)


def measured(
    problem: Problem, plan: Plan, index: CandidateIndex, machine: Machine
) -> Approximation:
    """How far mining among an index's candidates is from mining exactly, on a sample of queries."""
    count = len(problem.queries)
    sample = np.arange(min(_SAMPLE, count)) * count // min(_SAMPLE, count)
    part, silent = _part(problem, sample), replace(machine, progress=SILENT)
    exact = mine_on(silent, part, plan)
    approximate = mine_on(silent, part, plan, propose=index.propose)
    found = (exact.rows[:, :, None] == approximate.rows[:, None, :]).any(axis=2)
    return Approximation(
        index=index.factory,
        candidates=index.candidates,
        queries=len(sample),
        negatives_found=_share(found[exact.rows != NO_ROW]),
        rows_identical=_share((exact.rows == approximate.rows).all(axis=1)),
        target_rank_error=_mean_error(exact.target_ranks, approximate.target_ranks),
        candidates_in_band_error=_mean_error(
            exact.candidates_in_band, approximate.candidates_in_band
        ),
    )


def _chosen(
    problem: Problem, plan: Plan, index: Index, candidates: int, processes: Processes
) -> IndexKind | None:
    """The approximate index to mine through, or None to mine exactly."""
    fault = _unserved(plan, processes)
    if index == "auto":
        large = len(problem.queries) * len(problem.gallery) > EXACT_PAIRS
        enough = candidates >= plan.num_negatives + plan.range_min
        return "ivf" if large and enough and not fault else None
    if index == "flat" or index == "faiss" or not len(problem.queries):
        return None
    if fault:
        raise UsageError(f"`index={index!r}` {fault}: pass `index='flat'`, or auto")
    return index


def _unserved(plan: Plan, processes: Processes) -> str | None:
    """Why an approximate index cannot serve a plan, or None where it can."""
    if processes.count > 1:
        return f"is searched by one process, and {processes.count} were started"
    pools = [*draw_pools(plan), *fill_pools(plan)]
    if any(pool.priority != NEAREST for pool in pools):
        return (
            "proposes the nearest candidates alone, which are no sample of a band: "
            "`strategy='random'`, `sampling='random'` or softmax, `on_starved='random'` and kinds "
            "of any need all"
        )
    return None


def _part(problem: Problem, queries: Int64[np.ndarray, " some"]) -> Problem:
    """Some of the queries, against the same gallery."""
    return replace(
        problem,
        queries=problem.queries[queries],
        target_rows=problem.rows_of_targets[queries],
        exclusions=problem.exclusions.take(queries),
        categories=None if problem.categories is None else problem.categories[queries],
    )


def _share(holds: Bool[np.ndarray, " cases"]) -> float:
    """The share of cases in which something holds: 1 where there are no cases."""
    return float(holds.mean()) if holds.size else 1.0


def _mean_error(
    exact: Int32[np.ndarray, " sample"], approximate: Int32[np.ndarray, " sample"]
) -> float:
    return float(np.abs(exact.astype(np.int64) - approximate).mean())
