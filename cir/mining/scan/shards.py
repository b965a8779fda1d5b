"""A gallery in shards, one a process: what each found becomes what one scan of all had found.

Equal keys are ordered by gallery row, and chance hangs on that row too, so it does not matter which
shard a row is in: the best of a pool are the best of the shards' best, and counts add up. The pools
that fill up a starved query may be unfinished where its draws were full in one shard; but then they
are full altogether, the query is not starved, and nothing is taken from those pools.
"""

from typing import Final

import numpy as np

from cir.mining.scan.result import ScanResult, merged
from cir.processes import Processes

_AT_ONCE: Final = 1 << 21
"""Candidates of each shard that are merged at once, which bounds the memory."""


def merged_shards(found: ScanResult, processes: Processes) -> ScanResult:
    """What all processes found, in each of them; pools are ordered by (key, row).

    Args:
        found: What this process found in its shard, of the same queries and pools as the others.
        processes: Those that hold a shard each.

    Raises:
        CirError: a process failed, or was lost.
    """
    queries, pools, kept = found.keys.shape
    step = max(1, _AT_ONCE // (pools * kept))
    blocks = [slice(start, start + step) for start in range(0, max(queries, 1), step)]
    parts = [_merged_block(found.block(block), processes) for block in blocks]
    return ScanResult(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _merged_block(found: ScanResult, processes: Processes) -> ScanResult:
    """`merged_shards` of some of the queries."""
    fields = [processes.gathered(field) for field in found]
    return merged([ScanResult(*shard) for shard in zip(*fields, strict=True)])
