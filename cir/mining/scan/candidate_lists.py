"""The scan of a few candidates of each query, which an index proposed, in place of the gallery.

It compares these candidates exactly as `cir.mining.scan.stream` compares the whole gallery, and
counts and keeps them in the same way.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt32

from cir.machine.workers import pick_threads
from cir.mining.machine import Machine
from cir.mining.numerics.codes import BITS
from cir.mining.numerics.cosine import nearly_cosine, product_error
from cir.mining.numerics.jit import compiled
from cir.mining.scan.kernel import Scratch, SketchedRow, Tile, scan_query, scratch_for
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult, empty_result
from cir.mining.scan.stream import TILE_SIZE

Propose = Callable[[Float32[np.ndarray, "queries dim"]], Int64[np.ndarray, "queries candidates"]]
"""Gives the gallery rows that are the only candidates of each query, in any order, with `NO_ROW`
behind them."""

_PART: Final = 16
"""Queries that a thread scans for at once."""


def scan_listed(
    request: ScanRequest, propose: Propose, machine: Machine, label: str
) -> tuple[ScanResult, Int64[np.ndarray, "queries two"]]:
    """Scans the candidates that are proposed for each query.

    Args:
        request: The queries and the gallery.
        propose: Gives the candidates of a block of queries.
        machine: How the scan runs; `TILE_SIZE` candidates are compared together by default.
        label: The name of the scan in the progress, which shows queries per second.

    Returns:
        Counts and pools, the heap of each pool in no order; and how many valid candidates were
        listed for each query: all, and those of its category.
    """
    scan, block_size = _ListedScan(request, machine.tile_size or TILE_SIZE), machine.block_size
    vectors = request.thresholds.vectors
    # Not `scanning_threads`, which keep libraries to one thread each: FAISS may use all cores here.
    with (
        machine.progress.task(label, len(request), "queries") as task,
        ThreadPoolExecutor(pick_threads(machine.threads)) as executor,
    ):
        for start in range(0, len(request), block_size):
            listed = np.sort(propose(vectors[start : start + block_size]), axis=1)
            parts = [
                (slice(start + first, start + first + _PART), listed[first : first + _PART])
                for first in range(0, len(listed), _PART)
            ]
            for _ in executor.map(scan.scan_part, parts):
                pass
            task.advance(len(listed))
    return scan.result, scan.valid


class _ListedScan:
    """A scan whose queries several threads share."""

    def __init__(self, request: ScanRequest, tile_size: int) -> None:
        self._request, self._tile_size = request, tile_size
        # A plain array: compiled functions take no memory maps.
        self._gallery = np.asarray(request.gallery)
        self.valid = np.zeros((len(request), 2), dtype=np.int64)
        self.result = empty_result(request)

    def scan_part(self, part: tuple[slice, Int64[np.ndarray, "queries candidates"]]) -> None:
        """Scans the candidates of some of the queries, ordered by row."""
        queries, listed = part
        request, dim = self._request, self._gallery.shape[1]
        _scan_queries(
            listed, self._gallery, request.first_row, request.members,
            request.exclusions.starts[queries.start : queries.stop + 1], request.exclusions.rows,
            request.thresholds.block(queries), request.pools.block(queries),
            self.result.block(queries), self.valid[queries],
            self._memory(min(self._tile_size, listed.shape[1])), product_error(dim),
        )  # fmt: skip

    def _memory(self, size: int) -> "_Memory":
        dim, thresholds = self._gallery.shape[1], self._request.thresholds.rows.shape[1]
        similarities = np.empty(size, dtype=np.float32)
        return _Memory(
            rows=np.empty(size, dtype=np.int64),
            global_rows=np.empty(size, dtype=np.int64),
            row_ids_u32=np.empty(size, dtype=np.uint32),
            vectors=np.empty((size, dim), dtype=np.float32),
            similarities=similarities,
            codes=similarities.view(np.int32),
            members=np.zeros(size, dtype=np.bool_),
            scratch=scratch_for(size, dim, thresholds, np.dtype(np.int32)),
        )


class _Memory(NamedTuple):
    """Memory for one query and a tile of its candidates at a time."""

    rows: Int64[np.ndarray, " size"]
    global_rows: Int64[np.ndarray, " size"]
    row_ids_u32: UInt32[np.ndarray, " size"]
    vectors: Float32[np.ndarray, "size dim"]
    similarities: Float32[np.ndarray, " size"]
    codes: Int32[np.ndarray, " size"]
    """The bits of `similarities`, in the same memory."""
    members: Bool[np.ndarray, " size"]
    """The candidates of the query's category."""
    scratch: Scratch


@compiled
@no_type_check
def _scan_queries(
    listed, gallery, first_row, members, starts, excluded,
    thresholds, pools, result, valid, memory, product_error,
):  # fmt: skip
    """Scans the candidates of each query, one tile of them after the other.

    Args:
        listed: Rows of the gallery for each query, ascending; negative numbers are skipped.
        gallery: All vectors.
        first_row: The row of the whole gallery at which `gallery` begins.
        members: The gallery rows of each category; no category where the plan draws by none.
        starts: Where the exclusions of each query begin in `excluded`.
        excluded: Gallery rows that are no candidates of a query, ascending.
        thresholds: A `ThresholdQueries`.
        pools: A `PoolRequest`.
        result: A `ScanResult`, whose arrays are changed.
        valid: Where valid candidates are counted: all, and those of the query's category.
        memory: A `_Memory`.
        product_error: How far `nearly_cosine` may be off.
    """
    scoped = members.shape[0] > 0
    for query in range(listed.shape[0]):
        next_listed, of_query = 0, excluded[starts[query] : starts[query + 1]]
        while next_listed < listed.shape[1]:
            count, next_listed = _take_valid(listed[query], next_listed, of_query, memory.rows)
            _gather(thresholds.vectors[query], gallery, first_row, memory, count)
            valid[query, 0] += count
            if scoped:
                in_category = members[thresholds.categories[query]]
                valid[query, 1] += _gather_members(in_category, memory, count)
            # The similarities are no sketch: they are off by rounding alone.
            row = SketchedRow(
                memory.codes[:count], 0, BITS, 0.0, product_error, product_error,
                memory.members[:count], scoped,
            )  # fmt: skip
            tile = Tile(
                memory.vectors[:count], memory.global_rows[:count], memory.row_ids_u32[:count]
            )
            scan_query(query, row, tile, thresholds, pools, result, memory.scratch)


@compiled
@no_type_check
def _take_valid(listed, start, excluded, rows):
    """Writes listed rows that are not excluded, from `start` on, each once, until `rows` is full.

    Returns:
        How many rows were written, and where in `listed` to go on.
    """
    count, exclusion, index = 0, 0, start
    while index < listed.shape[0] and count < rows.shape[0]:
        row = listed[index]
        while exclusion < excluded.shape[0] and excluded[exclusion] < row:
            exclusion += 1
        is_excluded = exclusion < excluded.shape[0] and excluded[exclusion] == row
        repeated = index > 0 and listed[index - 1] == row
        if row >= 0 and not repeated and not is_excluded:
            rows[count] = row
            count += 1
        index += 1
    return count, index


@compiled
@no_type_check
def _gather(vector, gallery, first_row, memory, count):
    """Gathers the vectors, global rows and similarities of the first `count` candidates."""
    for position in range(count):
        row = memory.rows[position]
        memory.global_rows[position] = row + first_row
        memory.row_ids_u32[position] = np.uint32(memory.global_rows[position])
        for component in range(gallery.shape[1]):
            memory.vectors[position, component] = gallery[row, component]
        memory.similarities[position] = nearly_cosine(vector, memory.vectors[position])


@compiled
@no_type_check
def _gather_members(in_category, memory, count):
    """Gathers which of the first `count` candidates are of a category; returns how many are."""
    members = 0
    for position in range(count):
        memory.members[position] = in_category[memory.rows[position]]
        members += memory.members[position]
    return members
