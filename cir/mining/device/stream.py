"""A gallery streamed past the queries on one device: in place of `cir.mining.scan.stream`.

The device holds a tile of the gallery, the products of a block of queries with it, and the pools of
as many queries as fit into `POOLS`: with more, the gallery is streamed again. The next tile is read
on the host in the meantime. The result depends on none of these sizes.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
import torch

from cir.mining.device.arithmetic import plain_arithmetic
from cir.mining.device.request import read_tile, upload_request, uploaded
from cir.mining.device.tile_scan import Excluded, TileScan
from cir.mining.device.topk_pools import Pools, empty_pools
from cir.mining.machine import Machine
from cir.mining.numerics.cosine import product_error
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult, empty_result
from cir.progress import Task
from cir.types import NO_ROW

PAIRS: Final = 1 << 25
"""Pairs of a query and a candidate that are compared at once: enough to keep a GPU busy."""
POOLS: Final = 1 << 30
"""Bytes of the pools that are on the device at once."""
_ENTRY: Final = 20
"""Bytes of a candidate in a pool."""


def stream(
    request: ScanRequest, machine: Machine, label: str, *, pool_bytes: int = POOLS
) -> ScanResult:
    """Scans a gallery for all queries.

    Args:
        request: The queries and the gallery.
        machine: How the scan runs; its device is any that has float64. A tile has by default, and
            at most, as many rows as make `PAIRS` pairs with a block.
        label: The name of the scan in the progress, which shows gallery images per second.
        pool_bytes: As `POOLS`.

    Returns:
        Counts and pools.
    """
    device, block_size = machine.device, machine.block_size
    most = max(1, PAIRS // block_size)
    result, size = empty_result(request), min(machine.tile_size or most, most)
    if not len(request) or not len(request.gallery):
        return result
    rounds = _rounds(request, block_size, pool_bytes)
    with (
        machine.progress.task(label, len(rounds) * len(request.gallery), "images") as task,
        plain_arithmetic(device),
        ThreadPoolExecutor(1) as reader,
    ):
        for queries in rounds:
            scan = _Scan(request.block(queries), device, block_size)
            scan.run(size, reader, task)
            scan.download(result.block(queries))
    return result


class _Scan:
    """A scan for queries whose pools are on the device together."""

    def __init__(self, request: ScanRequest, device: torch.device, block_size: int) -> None:
        self._request, self._device = request, device
        error = product_error(request.gallery.shape[1])
        self._uploaded = upload_request(request, error, device)
        shape = len(request), len(request.pools.scopes)
        self._pools = empty_pools(*shape, request.kept, device)
        thresholds = request.thresholds.rows.shape[1]
        self._counts = torch.zeros(shape[0], thresholds, 2, dtype=torch.int64, device=device)
        self._exclusions = _Exclusions(request)
        self._blocks = _slices(len(request), block_size)

    def run(self, tile_size: int, reader: ThreadPoolExecutor, task: Task) -> None:
        """Scans the gallery tile after tile; the next is read in the meantime."""
        tiles = _slices(len(self._request.gallery), tile_size)
        read = partial(read_tile, self._request, device=self._device)
        reading = reader.submit(read, tiles[0])
        for tile_index, rows in enumerate(tiles):
            tile = reading.result().to(self._device)
            if tile_index + 1 < len(tiles):
                reading = reader.submit(read, tiles[tile_index + 1])
            excluded = self._exclusions.of_tile(rows, self._blocks, self._device)
            for block, pairs in zip(self._blocks, excluded, strict=True):
                scan = TileScan.of(
                    self._uploaded.block(block),
                    tile,
                    self._counts[block],
                    self._pools.block(block),
                    pairs,
                )
                scan.run(first=tile_index == 0)
            task.advance(rows.stop - rows.start)

    def download(self, result: ScanResult) -> None:
        """Writes what was found into the memory of the host."""
        for name in Pools._fields:
            getattr(result, name)[:] = getattr(self._pools, name).cpu().numpy()
        result.counts_below[:] = self._counts.cpu().numpy()
        result.sizes[:] = (result.rows != NO_ROW).sum(axis=2)


class _Exclusions:
    """The (query, gallery row) pairs that are no candidates, ordered by row."""

    def __init__(self, request: ScanRequest) -> None:
        queries, rows = request.exclusions.pairs()
        order = np.argsort(rows, kind="stable")
        self._queries, self._rows = queries[order], rows[order]

    def of_tile(self, rows: slice, blocks: list[slice], device: torch.device) -> Iterator[Excluded]:
        """Those in a tile, by block: (query counted from its start, position in the tile)."""
        inside = slice(*np.searchsorted(self._rows, (rows.start, rows.stop)))
        order = np.argsort(self._queries[inside], kind="stable")
        queries = self._queries[inside][order]
        positions = uploaded(self._rows[inside][order] - rows.start, device)
        uploaded_queries = uploaded(queries, device)
        for block in blocks:
            some = slice(*np.searchsorted(queries, (block.start, block.stop)).tolist())
            yield uploaded_queries[some] - block.start, positions[some]


def _slices(count: int, size: int) -> list[slice]:
    """Consecutive numbers, so many at a time."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _rounds(request: ScanRequest, block_size: int, pool_bytes: int) -> list[slice]:
    """The queries whose pools are on the device together."""
    of_query = _ENTRY * request.kept * len(request.pools.scopes)
    return _slices(len(request), max(block_size, pool_bytes // of_query))
