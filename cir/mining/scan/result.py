"""What a scan finds, and how the results of scans of several galleries become one.

Processes may hold a shard of the gallery each. Equal keys are ordered by gallery row, and chance
depends on that row too, so it does not matter which shard a row is in: the best of a pool are the
best of the shards' best, and counts add up. The pools that fill up a starved query may be
unfinished where its draws were full in one shard. But then the draws are full altogether, the query
is not starved, and nothing is taken from those pools.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from cir.machine.processes import Processes
from cir.mining.scan.request import ScanRequest
from cir.types import NO_ROW

MERGED_TOGETHER: Final = 1 << 21
"""Candidates of each shard that are merged together, which bounds the memory."""


class ScanResult(NamedTuple):
    """The candidates that each pool keeps, and the counts below each threshold."""

    keys: Float64[np.ndarray, "queries pools kept"]
    """Heaps with the greatest (key, row) first, of which `sizes` entries are filled."""
    rows: Int64[np.ndarray, "queries pools kept"]
    distances: Float32[np.ndarray, "queries pools kept"]
    sizes: Int64[np.ndarray, "queries pools"]
    counts_below: Int64[np.ndarray, "queries thresholds two"]
    """Valid candidates below each threshold: all of them, and those of the query's category."""

    def block(self, queries: slice) -> "ScanResult":
        """A view of some of the queries."""
        return ScanResult(*(values[queries] for values in self))


def empty_result(request: ScanRequest) -> ScanResult:
    """The result before any candidate was compared."""
    thresholds, pools = request.thresholds.rows.shape[1], len(request.pools.scopes)
    return empty_pools(len(request), pools, request.kept, thresholds)


def empty_pools(queries: int, pools: int, kept: int, thresholds: int) -> ScanResult:
    """As `empty_result`, for so many queries, pools, kept candidates and thresholds."""
    shape = (queries, pools, kept)
    return ScanResult(
        keys=np.full(shape, np.inf),
        rows=np.full(shape, NO_ROW, dtype=np.int64),
        distances=np.full(shape, np.nan, dtype=np.float32),
        sizes=np.zeros(shape[:2], dtype=np.int64),
        counts_below=np.zeros((queries, thresholds, 2), dtype=np.int64),
    )


def merged(parts: Sequence[ScanResult]) -> ScanResult:
    """Merges the results of several galleries into that of one scan of all of them.

    Pools are ordered by (key, row).
    """
    keys, rows, distances = (
        np.concatenate([part[field] for part in parts], axis=2) for field in range(3)
    )
    best = np.lexsort((rows, keys), axis=2)[:, :, : parts[0].keys.shape[2]]
    return ScanResult(
        keys=np.take_along_axis(keys, best, axis=2),
        rows=np.take_along_axis(rows, best, axis=2),
        distances=np.take_along_axis(distances, best, axis=2),
        sizes=np.minimum(np.sum([part.sizes for part in parts], axis=0), best.shape[2]),
        counts_below=np.sum([part.counts_below for part in parts], axis=0),
    )


def merged_shards(
    result: ScanResult, processes: Processes, together: int = MERGED_TOGETHER
) -> ScanResult:
    """The result for the whole gallery, in every process; pools are ordered by (key, row).

    Args:
        result: That of this process's shard, for the same queries and pools as in the others.
        processes: Those that hold a shard each.
        together: Candidates of each shard that are merged together.

    Raises:
        CirError: A process failed, or was lost.
    """
    queries, pools, kept = result.keys.shape
    step = max(1, together // (pools * kept))
    blocks = [slice(start, start + step) for start in range(0, max(queries, 1), step)]
    parts = [_merged_block(result.block(block), processes) for block in blocks]
    return ScanResult(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _merged_block(result: ScanResult, processes: Processes) -> ScanResult:
    """`merged_shards` of some of the queries."""
    fields = [processes.gathered(field) for field in result]
    return merged([ScanResult(*shard) for shard in zip(*fields, strict=True)])
