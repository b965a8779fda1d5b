"""The gallery streamed past the queries, tile after tile, a block of queries to a thread.

Memory holds two tiles of the gallery and a block of similarities for each thread, whatever the size
of the gallery, which may be a file mapped into memory. What is found depends on none of them.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from cir.mining.bands import Borders, Keys
from cir.mining.numerics.cosine import product_error
from cir.mining.numerics.threads import scanning_threads
from cir.mining.problem import CandidatePool
from cir.mining.scan.kernel import BARRED, Tile, scan
from cir.mining.scan.request import PoolRequest, ThresholdQueries
from cir.mining.scan.result import ScanResult, empty_result
from cir.mining.scan.sampling_keys import hash_keys
from cir.mining.sketch.product import Side, Sketch, joined
from cir.progress import Progress
from cir.ragged import Ragged
from cir.types import SCOPES

_TILE: Final = 2048
"""Gallery rows in a tile: few enough to stay in the processor's cache."""
_CHUNK: Final = 16 * _TILE
"""Gallery rows that are sketched at once, and sorted into tiles."""
_FARTHEST_ZERO: Final = np.float32(0.5)
"""How far below the target's similarity the zero of a sketch may lie, at most."""


@dataclass(frozen=True, eq=False)
class Search:
    """Queries, and what each of them looks for in a gallery."""

    queries: Float32[np.ndarray, "queries dim"]
    gallery: Float32[np.ndarray, "gallery dim"]
    first_row: int
    """What the gallery's first row is called: a shard begins elsewhere than at 0."""
    exclusions: Ragged
    categories: Int64[np.ndarray, " queries"] | None
    members: Bool[np.ndarray, "categories gallery"] | None
    borders: Borders
    pools: Sequence[CandidatePool]
    needed: Bool[np.ndarray, "queries pools"]
    """Whether a query takes anything from a pool."""
    first_fill: int
    """Pools from this one on serve only queries that those before it leave starved."""
    kept: int
    """Candidates that a pool holds."""
    seed: int
    temperature: float

    def asked(self) -> ThresholdQueries:
        """The queries as the scan takes them."""
        marks = self.borders.marks.values()
        count = len(self.queries)
        return ThresholdQueries(
            vectors=self.queries,
            categories=np.zeros(count, np.int64) if self.categories is None else self.categories,
            border_distances=np.stack([keys.distances for keys in marks], axis=1),
            border_rows=np.stack([keys.rows for keys in marks], axis=1),
        )

    def wanted(self) -> PoolRequest:
        """The pools as the scan takes them."""
        numbers = np.arange(len(self.queries))
        intervals = [self.borders.intervals(pool.band) for pool in self.pools]
        return PoolRequest(
            *_bounds([[low for low, _ in parts] for parts in intervals]),
            *_bounds([[high for _, high in parts] for parts in intervals]),
            hash_keys=np.stack(
                [hash_keys(self.seed, p.draw_index, numbers) for p in self.pools], axis=1
            ),
            scopes=np.array([SCOPES.index(pool.scope) for pool in self.pools], dtype=np.int8),
            priorities=np.array([pool.priority for pool in self.pools], dtype=np.int8),
            needed=self.needed,
            first_fill=self.first_fill,
            temperature=self.temperature,
        )


def _bounds(
    keys: Sequence[Sequence[Keys]],
) -> tuple[
    Float32[np.ndarray, "queries pools intervals"], Int64[np.ndarray, "queries pools intervals"]
]:
    """Distances and rows of the keys of each pool's intervals."""
    distances, rows = (
        np.stack([np.stack([part[field] for part in parts], axis=1) for parts in keys], axis=1)
        for field in range(2)
    )
    return distances, rows


def stream(
    search: Search,
    number: torch.dtype,
    device: torch.device,
    block_size: int,
    progress: Progress,
    label: str,
) -> ScanResult:
    """Scans a gallery for all queries.

    Args:
        search: What for.
        number: Arithmetic of the sketch, torch.bfloat16 or torch.float32.
        device: Where its products are made.
        block_size: Queries to a block.
        progress: Shows gallery images per second.
        label: What it calls that.

    Returns:
        What was found; the heap of each pool in no order.
    """
    if not len(search.queries) or not len(search.gallery):
        return empty_result(
            len(search.queries), len(search.pools), search.kept, len(search.borders.marks)
        )
    with progress.task(label, len(search.gallery), "images") as task, scanning_threads() as pool:
        work = _Stream(search, number, device, block_size, pool)
        for start in range(0, len(search.gallery), _CHUNK):
            chunk = work.chunk(start, pool)
            coming = pool.submit(work.ready, chunk, 0)
            for place in range(len(chunk.tiles)):
                ready = coming.result()
                if place + 1 < len(chunk.tiles):
                    coming = pool.submit(work.ready, chunk, place + 1)
                for _ in pool.map(work.serve, work.blocks, repeat(ready)):
                    pass
                task.advance(len(ready.tile.rows))
    return work.found


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Consecutive gallery rows, sketched, and cut into tiles of rows that are sketched alike well.

    The error of a sketch is bounded by the worst row of a tile: it pays to keep bad ones apart.
    """

    start: int
    side: Side
    tiles: Sequence[Int64[np.ndarray, " _"]]
    """Rows of the chunk."""
    barred: Sequence[tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]]
    """By tile, the (query, place in the tile) of each exclusion, ordered by query."""


@dataclass(frozen=True, eq=False)
class _Ready:
    """A tile about to pass by."""

    tile: Tile
    side: Side
    barred: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]


class _Stream:
    """What the threads of a scan share."""

    def __init__(
        self,
        search: Search,
        number: torch.dtype,
        device: torch.device,
        block_size: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        count = len(search.queries)
        self._search, self._asked, self._wanted = search, search.asked(), search.wanted()
        self._sketch = Sketch(
            search.queries,
            search.gallery,
            _decided_about(search.borders),
            number,
            device,
            each=pool.map,
        )
        self._error = product_error(search.queries.shape[1])
        self._rooms = threading.local()
        self._barred = _by_row(search.exclusions)
        self.blocks = [
            slice(start, min(start + block_size, count)) for start in range(0, count, block_size)
        ]
        self.found = empty_result(
            count, len(search.pools), search.kept, self._asked.border_rows.shape[1]
        )

    def chunk(self, start: int, pool: ThreadPoolExecutor) -> _Chunk:
        """The chunk from a row of the gallery on."""
        end = min(start + _CHUNK, len(self._search.gallery))
        parts = [slice(at, min(at + _TILE, end)) for at in range(start, end, _TILE)]
        side = joined(list(pool.map(self._sketched, parts)))
        order = np.argsort(self._sketch.doubt(side), kind="stable")
        tiles = [order[at : at + _TILE] for at in range(0, len(order), _TILE)]
        return _Chunk(start, side, tiles, self._barred_in(start, order))

    def _sketched(self, rows: slice) -> Side:
        """Some rows, read into memory: torch takes none that it may not write."""
        return self._sketch.tile(np.array(self._search.gallery[rows], dtype=np.float32))

    def ready(self, chunk: _Chunk, number: int) -> _Ready:
        """A tile of a chunk, its vectors read."""
        rows = chunk.tiles[number]
        names, members = chunk.start + rows, self._search.members
        own = np.zeros((0, len(rows)), np.bool_) if members is None else members[:, names]
        vectors = np.asarray(self._search.gallery[names], dtype=np.float32)
        called = self._search.first_row + names
        tile = Tile(vectors, called, called.astype(np.uint32), np.ascontiguousarray(own))
        return _Ready(tile, chunk.side.take(rows), chunk.barred[number])

    def serve(self, block: slice, ready: _Ready) -> None:
        """Lets a tile pass by a block of queries."""
        sketched = self._sketch.multiply(block, ready.side, self._room(block, ready.tile))
        queries, places = ready.barred
        ours = slice(*np.searchsorted(queries, (block.start, block.stop)))
        sketched.codes[queries[ours] - block.start, places[ours]] = BARRED
        asked, wanted, found = self._asked.block(block), self._wanted.block(block), self.found
        scan(sketched, ready.tile, asked, wanted, found.block(block), self._error)

    def _barred_in(
        self, start: int, order: Int64[np.ndarray, " rows"]
    ) -> list[tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]]:
        """The exclusions among the rows of a chunk, by tile."""
        queries, rows = self._barred
        inside = slice(*np.searchsorted(rows, (start, start + len(order))))
        place_of = np.empty(len(order), dtype=np.int64)
        place_of[order] = np.arange(len(order))
        places, queries = place_of[rows[inside] - start], queries[inside]
        found = []
        for number in range(-(-len(order) // _TILE)):
            ours = np.flatnonzero(places // _TILE == number)
            ours = ours[np.argsort(queries[ours], kind="stable")]
            found.append((queries[ours], places[ours] % _TILE))
        return found

    def _room(self, block: slice, tile: Tile) -> Tensor:
        """Memory of this thread for a block of similarities."""
        shape = block.stop - block.start, len(tile.rows)
        if not hasattr(self._rooms, "own") or self._rooms.own.numel() < shape[0] * shape[1]:
            self._rooms.own = torch.empty(shape[0] * shape[1], dtype=self._sketch.number)
        room: Tensor = self._rooms.own[: shape[0] * shape[1]].view(shape)
        return room


def _by_row(
    exclusions: Ragged,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """(query, gallery row) of every exclusion, ordered by gallery row."""
    queries, rows = exclusions.pairs()
    order = np.argsort(rows, kind="stable")
    return queries[order], rows[order]


def _decided_about(borders: Borders) -> Float32[np.ndarray, "queries borders"]:
    """The similarities about which a scan decides; a sketch's zero is the last."""
    target = np.float32(1) - borders.targets
    decided = [np.float32(1) - keys.distances for keys in borders.filters.values()] + [target]
    if borders.bounded:
        margin = np.float32(1) - borders.margins
        decided.append(np.maximum(margin, target - _FARTHEST_ZERO))
    return np.stack(decided, axis=1)
