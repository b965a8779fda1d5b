"""A few candidates of each query, which an index proposed, scanned in place of the gallery.

All else is as in `cir.mining.scan.stream`: the same comparisons in full, the same counts and pools,
of the candidates that are listed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt32

from cir.mining.scan.request import ThresholdQueries, PoolRequest
from cir.mining.numerics.jit import compiled
from cir.mining.scan.result import ScanResult, empty_result
from cir.mining.scan.kernel import Scratch, Sketched, Tile, scan_tile, scratch_for
from cir.mining.numerics.cosine import nearly_cosine, product_error
from cir.mining.scan.stream import Search
from cir.progress import Progress
from cir.workers import pick_workers

Propose = Callable[[Float32[np.ndarray, "queries dim"]], Int64[np.ndarray, "queries candidates"]]
"""Gallery rows that are the only candidates of each query, in any order; −1 in empty places."""

_TILE: Final = 2048
"""Candidates scanned at once."""
_PART: Final = 16
"""Queries that a thread serves at once."""


def scan_listed(
    search: Search, propose: Propose, block_size: int, progress: Progress, label: str
) -> tuple[ScanResult, Int64[np.ndarray, "queries two"]]:
    """Scans the candidates that are proposed for each query.

    Args:
        search: What for.
        propose: ThresholdQueries for the candidates of a block of queries at a time.
        block_size: Queries to a block.
        progress: Shows queries per second.
        label: What it calls that.

    Returns:
        What was found, the heap of each pool in no order; and how many valid candidates were listed
        for each query: all, and those of its category.
    """
    count, work = len(search.queries), _Listing(search)
    # These threads call no library that would start threads of its own, and FAISS wants all cores.
    with (
        progress.task(label, count, "queries") as task,
        ThreadPoolExecutor(pick_workers(None)) as pool,
    ):
        for start in range(0, count, block_size):
            listed = np.sort(propose(search.queries[start : start + block_size]), axis=1)
            parts = [
                (slice(start + at, start + at + _PART), listed[at : at + _PART])
                for at in range(0, len(listed), _PART)
            ]
            for _ in pool.map(work.serve, parts):
                pass
            task.advance(len(listed))
    return work.found, work.valid


class _Listing:
    """What the threads of a scan share."""

    def __init__(self, search: Search) -> None:
        count, members = len(search.queries), search.members
        self._search, self._asked, self._wanted = search, search.asked(), search.wanted()
        # A plain array: compiled functions know no memory maps.
        self._gallery = np.asarray(search.gallery)
        self._members = np.zeros((0, len(self._gallery)), np.bool_) if members is None else members
        self._error = product_error(search.queries.shape[1])
        self.valid = np.zeros((count, 2), dtype=np.int64)
        self.found = empty_result(
            count, len(search.pools), search.kept, self._asked.border_rows.shape[1]
        )

    def serve(self, part: tuple[slice, Int64[np.ndarray, "queries candidates"]]) -> None:
        """Scans the candidates of some of the queries, ordered by row."""
        queries, listed = part
        barred = self._search.exclusions
        asked, wanted = self._asked.block(queries), self._wanted.block(queries)
        found = self.found.block(queries)
        most, dim = min(_TILE, listed.shape[1]), self._gallery.shape[1]
        borders = asked.border_rows.shape[1]
        similarities = np.empty((1, most), dtype=np.float32)
        room = _Scratch(
            rows=np.empty(most, dtype=np.int64),
            names=np.empty(most, dtype=np.int64),
            words=np.empty(most, dtype=np.uint32),
            vectors=np.empty((most, dim), dtype=np.float32),
            similarities=similarities,
            codes=similarities.view(np.int32),
            own=np.zeros((1, most), dtype=np.bool_),
            zero=np.zeros(1),
            error=np.full(1, self._error),
            only=np.zeros(1, dtype=np.int64),
            scan=scratch_for(most, dim, len(wanted.scopes), borders, np.dtype(np.int32)),
        )
        _scan_rows(
            listed, self._gallery, self._search.first_row, self._members,
            barred.starts[queries.start : queries.stop + 1], barred.rows,
            asked, wanted, found, self.valid[queries], room, self._error,
        )  # fmt: skip


class _Scratch(NamedTuple):
    """What a thread works in; for one query and a tile of its candidates at a time."""

    rows: Int64[np.ndarray, " most"]
    names: Int64[np.ndarray, " most"]
    words: UInt32[np.ndarray, " most"]
    vectors: Float32[np.ndarray, "most dim"]
    similarities: Float32[np.ndarray, "one most"]
    codes: Int32[np.ndarray, "one most"]
    """Their bits, in the same memory."""
    own: Bool[np.ndarray, "one most"]
    """Which of them are of the query's category."""
    zero: Float64[np.ndarray, " one"]
    error: Float64[np.ndarray, " one"]
    only: Int64[np.ndarray, " one"]
    scan: Scratch


@compiled
@no_type_check
def _scan_rows(
    listed, gallery, first_row, members, starts, barred,
    asked, wanted, found, valid, room, product_error,
):  # fmt: skip
    """Lets the candidates of each query pass by it alone, a tile of them after the other.

    Args:
        listed: Rows of the gallery for each query, ascending; negative ones are none.
        gallery: All vectors.
        first_row: What the gallery's first row is called.
        members: The categories' rows of the gallery, or no row.
        starts: Where the exclusions of each query begin in `barred`.
        barred: Gallery rows that are no candidates of a query, ascending.
        asked: An `ThresholdQueries`.
        wanted: A `PoolRequest`.
        found: A `ScanResult`, whose arrays are changed.
        valid: Where valid candidates are counted: all, and those of the query's category.
        room: A `_Scratch`.
        product_error: How far `nearly_cosine` may be off.
    """
    scoped = min(members.shape[0], 1)
    rows = room.rows
    for query in range(listed.shape[0]):
        turn, excluded = 0, barred[starts[query] : starts[query + 1]]
        while turn < listed.shape[1]:
            count, turn = _take_valid(listed[query], turn, excluded, rows)
            _compare(asked.vectors[query], gallery, first_row, rows[:count], room)
            valid[query, 0] += count
            if scoped:
                own = members[asked.categories[query]]
                valid[query, 1] += _mark_own(own, rows[:count], room.own[0])
            scan_tile(
                Sketched(room.codes[:, :count], 0, room.zero, room.error),
                Tile(
                    room.vectors[:count],
                    room.names[:count],
                    room.words[:count],
                    room.own[:scoped, :count],
                ),
                _one_asked(asked, query, room.only),
                _one_wanted(wanted, query),
                _one_found(found, query),
                room.scan,
                product_error,
            )


@compiled
@no_type_check
def _take_valid(listed, turn, excluded, rows):
    """Writes the next rows that are listed, each once, and not excluded; how many, and the turn."""
    count, bar = 0, 0
    while turn < listed.shape[0] and count < rows.shape[0]:
        row = listed[turn]
        while bar < excluded.shape[0] and excluded[bar] < row:
            bar += 1
        again = turn > 0 and listed[turn - 1] == row
        if row >= 0 and not again and not (bar < excluded.shape[0] and excluded[bar] == row):
            rows[count] = row
            count += 1
        turn += 1
    return count, turn


@compiled
@no_type_check
def _compare(vector, gallery, first_row, rows, room):
    """Brings names and vectors of some rows together, and their similarities, within rounding."""
    for place in range(rows.shape[0]):
        room.names[place] = rows[place] + first_row
        room.words[place] = np.uint32(room.names[place])
        for component in range(gallery.shape[1]):
            room.vectors[place, component] = gallery[rows[place], component]
        room.similarities[0, place] = nearly_cosine(vector, room.vectors[place])


@compiled
@no_type_check
def _mark_own(members, rows, own):
    """Marks the rows that are of a category; how many."""
    count = 0
    for place in range(rows.shape[0]):
        own[place] = members[rows[place]]
        count += own[place]
    return count


@compiled
@no_type_check
def _one_asked(asked, query, only):
    """One of the queries; `only` is its category's number among the only one."""
    return ThresholdQueries(
        asked.vectors[query : query + 1],
        only,
        asked.border_distances[query : query + 1],
        asked.border_rows[query : query + 1],
    )


@compiled
@no_type_check
def _one_wanted(wanted, query):
    """The pools of one of the queries."""
    return PoolRequest(
        wanted.low_distances[query : query + 1],
        wanted.low_rows[query : query + 1],
        wanted.high_distances[query : query + 1],
        wanted.high_rows[query : query + 1],
        wanted.hash_keys[query : query + 1],
        wanted.scopes,
        wanted.priorities,
        wanted.needed[query : query + 1],
        wanted.first_fill,
        wanted.temperature,
    )


@compiled
@no_type_check
def _one_found(found, query):
    """A view of what was found for one of the queries."""
    return ScanResult(
        found.keys[query : query + 1],
        found.rows[query : query + 1],
        found.distances[query : query + 1],
        found.sizes[query : query + 1],
        found.nearer[query : query + 1],
    )
