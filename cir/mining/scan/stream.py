"""On the CPU, the whole gallery streamed past the queries: tile by tile, a block to a thread.

Memory holds two tiles of the gallery and a block of similarities for each thread, whatever the size
of the gallery, which may be a file mapped into memory. The result depends on none of these sizes.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from cir.mining.machine import Machine
from cir.mining.numerics.cosine import product_error
from cir.mining.numerics.ordering import MOST_COUNTED
from cir.mining.numerics.threads import scanning_threads
from cir.mining.scan.kernel import Tile, scan_tile
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult, empty_result
from cir.mining.sketch.product import Side, Sketch, concatenated_sides, fastest_dtype
from cir.ragged import Ragged

TILE_SIZE: Final = 2048
"""Gallery rows in a tile: few enough to stay in the processor's cache."""
_TILES_SORTED: Final = 16
"""Tiles in a chunk, whose rows are sketched together and sorted by the error of their sketches."""


def stream(request: ScanRequest, machine: Machine, label: str) -> ScanResult:
    """Scans a gallery for all queries.

    Args:
        request: The queries and the gallery.
        machine: How the scan runs; `MOST_COUNTED` is the most rows to a tile.
        label: The name of the scan in the progress.

    Returns:
        Counts and pools, the heap of each pool in no order.
    """
    if not len(request) or not len(request.gallery):
        return empty_result(request)
    tile_size = min(machine.tile_size or TILE_SIZE, MOST_COUNTED)
    dtype = machine.arithmetic or fastest_dtype()
    with (
        machine.progress.task(label, len(request.gallery), "images") as task,
        scanning_threads(machine.threads) as executor,
    ):
        scan = _StreamedScan(request, dtype, machine.block_size, tile_size, executor)
        for start in range(0, len(request.gallery), _TILES_SORTED * tile_size):
            chunk = scan.sketch_chunk(start, executor)
            loading = executor.submit(scan.load_tile, chunk, 0)
            for tile_index in range(len(chunk.tiles)):
                loaded = loading.result()
                if tile_index + 1 < len(chunk.tiles):
                    loading = executor.submit(scan.load_tile, chunk, tile_index + 1)
                for _ in executor.map(scan.scan_block, scan.blocks, repeat(loaded)):
                    pass
                task.advance(len(loaded.tile.global_rows))
    return scan.result


@dataclass(frozen=True, eq=False)
class _TileExclusions:
    """The excluded (query, position in a tile) pairs, ordered by query."""

    queries: Int64[np.ndarray, " pairs"]
    positions: Int64[np.ndarray, " pairs"]

    def of_block(
        self, block: slice
    ) -> tuple[Int64[np.ndarray, " some"], Int64[np.ndarray, " some"]]:
        """(query counted from the start of a block, position) of the pairs in it."""
        inside = slice(*np.searchsorted(self.queries, (block.start, block.stop)))
        return self.queries[inside] - block.start, self.positions[inside]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Consecutive gallery rows, sketched and cut into tiles of rows with about equal errors.

    The worst row of a tile sets the error of all its rows, so it pays to keep bad rows together.
    """

    start: int
    side: Side
    tiles: Sequence[Int64[np.ndarray, " _"]]
    """The rows of each tile, counted from the start of the chunk."""
    exclusions: Sequence[_TileExclusions]
    """Those of each tile."""


@dataclass(frozen=True, eq=False)
class _LoadedTile:
    """A tile whose vectors are in memory."""

    tile: Tile
    members: Bool[np.ndarray, "categories rows"]
    side: Side
    exclusions: _TileExclusions


class _StreamedScan:
    """A scan whose blocks of queries several threads share."""

    def __init__(
        self,
        request: ScanRequest,
        dtype: torch.dtype,
        block_size: int,
        tile_size: int,
        executor: ThreadPoolExecutor,
    ) -> None:
        queries = request.thresholds.vectors
        self._request, self._tile_size = request, tile_size
        self._sketch = Sketch(
            queries, request.gallery, request.decisions, dtype, run_parts=executor.map
        )
        self._product_error = product_error(queries.shape[1])
        self._memory = threading.local()
        self._exclusions = _ordered_by_row(request.exclusions)
        self.blocks = [
            slice(start, min(start + block_size, len(queries)))
            for start in range(0, len(queries), block_size)
        ]
        self.result = empty_result(request)

    def sketch_chunk(self, start: int, executor: ThreadPoolExecutor) -> _Chunk:
        """Sketches the chunk that begins at a row of the gallery."""
        size = self._tile_size
        end = min(start + _TILES_SORTED * size, len(self._request.gallery))
        parts = [slice(first, min(first + size, end)) for first in range(start, end, size)]
        side = concatenated_sides(list(executor.map(self._sketch_rows, parts)))
        order = np.argsort(self._sketch.doubt(side), kind="stable")
        tiles = [order[first : first + size] for first in range(0, len(order), size)]
        return _Chunk(start, side, tiles, self._exclusions_of_tiles(start, order))

    def _sketch_rows(self, rows: slice) -> Side:
        """Sketches some rows from a copy: torch takes no read-only memory, as of a mapped file."""
        return self._sketch.tile(np.array(self._request.gallery[rows], dtype=np.float32))

    def load_tile(self, chunk: _Chunk, tile_index: int) -> _LoadedTile:
        """Reads the vectors of a tile of a chunk."""
        in_chunk = chunk.tiles[tile_index]
        rows = chunk.start + in_chunk
        vectors = np.asarray(self._request.gallery[rows], dtype=np.float32)
        global_rows = self._request.first_row + rows
        return _LoadedTile(
            Tile(vectors, global_rows, global_rows.astype(np.uint32)),
            np.ascontiguousarray(self._request.members[:, rows]),
            chunk.side.take(in_chunk),
            chunk.exclusions[tile_index],
        )

    def scan_block(self, block: slice, loaded: _LoadedTile) -> None:
        """Scans a tile for a block of queries."""
        memory = self._products(block, loaded.tile)
        sketched = self._sketch.multiply(block, loaded.side, memory)
        sketched.exclude(*loaded.exclusions.of_block(block))
        scan_tile(
            sketched,
            loaded.tile,
            loaded.members,
            self._request.thresholds.block(block),
            self._request.pools.block(block),
            self.result.block(block),
            self._product_error,
        )

    def _exclusions_of_tiles(
        self, start: int, order: Int64[np.ndarray, " rows"]
    ) -> list[_TileExclusions]:
        """The exclusions among the rows of a chunk, by tile."""
        queries, rows = self._exclusions
        inside = slice(*np.searchsorted(rows, (start, start + len(order))))
        position_of = np.empty(len(order), dtype=np.int64)
        position_of[order] = np.arange(len(order))
        positions, queries = position_of[rows[inside] - start], queries[inside]
        by_tile = []
        for tile_index in range(-(-len(order) // self._tile_size)):
            pairs = np.flatnonzero(positions // self._tile_size == tile_index)
            pairs = pairs[np.argsort(queries[pairs], kind="stable")]
            by_tile.append(_TileExclusions(queries[pairs], positions[pairs] % self._tile_size))
        return by_tile

    def _products(self, block: slice, tile: Tile) -> Tensor:
        """Memory of this thread for the similarities of a block with a tile."""
        shape = block.stop - block.start, len(tile.global_rows)
        size, memory = shape[0] * shape[1], self._memory
        if not hasattr(memory, "products") or memory.products.numel() < size:
            memory.products = torch.empty(size, dtype=self._sketch.dtype)
        products: Tensor = memory.products[:size].view(shape)
        return products


def _ordered_by_row(
    exclusions: Ragged,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """(query, gallery row) of every exclusion, ordered by gallery row."""
    queries, rows = exclusions.pairs()
    order = np.argsort(rows, kind="stable")
    return queries[order], rows[order]
