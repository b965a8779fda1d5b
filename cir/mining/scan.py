"""The compiled scan: what is kept of each query while the gallery passes by, tile after tile.

For each query the scan counts the candidates nearer than its borders, and keeps in each of its
pools the candidates of least key. A sketched similarity (`cir.mining.sketch`) settles nearly all of
it: only candidates within its error of a border, or near enough to enter a pool, are compared in
full. What comes out is what comparing every candidate in full would give, bit for bit, however
queries and gallery are cut up.

Candidates are ordered by (distance, gallery row).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64, UInt8, UInt32

from cir.mining.codes import code_of, number_of, order_codes
from cir.mining.compiled import compiled
from cir.mining.marks import list_marked, unmarked
from cir.mining.priorities import NEAREST, SOFTMAX, UNIFORM, gumbel, gumbel_ceiling, hash_rows
from cir.mining.similarity import cosine, nearly_cosine
from cir.types import SCOPES

_ANY: Final = SCOPES.index("any")
_OTHER: Final = SCOPES.index("other-category")
_MOST: Final = 2.0**32 - 1
"""The greatest hash."""


class Tile(NamedTuple):
    """Some of the gallery."""

    vectors: Float32[np.ndarray, "rows dim"]
    rows: Int64[np.ndarray, " rows"]
    """What each is called."""
    members: Bool[np.ndarray, "categories rows"]
    """No row where the plan knows no categories."""


class Asked(NamedTuple):
    """Queries, and what is to be counted for each: valid candidates before each border."""

    vectors: Float32[np.ndarray, "queries dim"]
    categories: Int64[np.ndarray, " queries"]
    border_distances: Float32[np.ndarray, "queries borders"]
    border_rows: Int64[np.ndarray, "queries borders"]
    """A candidate is before a border when its (distance, row) is less."""

    def block(self, queries: slice) -> "Asked":
        """Some of the queries."""
        return Asked(
            *(values[queries] for values in self),
        )


class Wanted(NamedTuple):
    """The pools of the queries: which candidates may enter, and who of them stays."""

    low_distances: Float32[np.ndarray, "queries pools intervals"]
    low_rows: Int64[np.ndarray, "queries pools intervals"]
    """The least (distance, row) that may enter."""
    high_distances: Float32[np.ndarray, "queries pools intervals"]
    high_rows: Int64[np.ndarray, "queries pools intervals"]
    """The first (distance, row) that may not."""
    hash_keys: UInt32[np.ndarray, "queries pools two"]
    scopes: Int8[np.ndarray, " pools"]
    priorities: Int8[np.ndarray, " pools"]
    first_fill: int
    """Pools from this one on are for queries of whom a pool before it is not full: others are
    offered nothing there, since they cannot be starved."""
    temperature: float

    def block(self, queries: slice) -> "Wanted":
        """The pools of some of the queries."""
        return self._replace(
            low_distances=self.low_distances[queries],
            low_rows=self.low_rows[queries],
            high_distances=self.high_distances[queries],
            high_rows=self.high_rows[queries],
            hash_keys=self.hash_keys[queries],
        )


class Found(NamedTuple):
    """What was found so far."""

    keys: Float64[np.ndarray, "queries pools kept"]
    """Heaps with the greatest (key, row) first, of which `sizes` entries are filled."""
    rows: Int64[np.ndarray, "queries pools kept"]
    distances: Float32[np.ndarray, "queries pools kept"]
    sizes: Int64[np.ndarray, "queries pools"]
    nearer: Int64[np.ndarray, "queries borders two"]
    """Valid candidates before each border: all of them, and those of the query's category."""

    def block(self, queries: slice) -> "Found":
        """A view of some of the queries."""
        return Found(*(values[queries] for values in self))


class Sketched(NamedTuple):
    """Similarities of queries and a tile, nearly, and what is known of them."""

    codes: Int64[np.ndarray, "queries rows"]
    """Bits of (similarity − zero) as signed integers of 16 or 32 bits, or `BARRED`; overwritten by
    the scan."""
    shift: int
    """Bits of float32 that they lack: 16 for bfloat16, 0 for float32."""
    zeros: Float64[np.ndarray, " queries"]
    errors: Float64[np.ndarray, " queries"]
    """How far they may be off, at most."""


BARRED: Final = -1
"""The bits of a number that no product gives: those of an excluded candidate."""


def nothing_found(queries: int, pools: int, kept: int, borders: int) -> Found:
    """Where a scan starts."""
    shape = (queries, pools, kept)
    return Found(
        keys=np.full(shape, np.inf),
        rows=np.full(shape, -1, dtype=np.int64),
        distances=np.full(shape, np.nan, dtype=np.float32),
        sizes=np.zeros(shape[:2], dtype=np.int64),
        nearer=np.zeros((queries, borders, 2), dtype=np.int64),
    )


def merged(parts: Sequence[Found]) -> Found:
    """What one scan would have found of all the galleries that `parts` found of one each.

    Pools are ordered by (key, row).
    """
    keys, rows, distances = (
        np.concatenate([part[field] for part in parts], axis=2) for field in range(3)
    )
    best = np.lexsort((rows, keys), axis=2)[:, :, : parts[0].keys.shape[2]]
    return Found(
        keys=np.take_along_axis(keys, best, axis=2),
        rows=np.take_along_axis(rows, best, axis=2),
        distances=np.take_along_axis(distances, best, axis=2),
        sizes=np.minimum(np.sum([part.sizes for part in parts], axis=0), best.shape[2]),
        nearer=np.sum([part.nearer for part in parts], axis=0),
    )


class _Room(NamedTuple):
    """What a thread works in; for one query and a tile at a time."""

    limits: Int64[np.ndarray, "borders two"]
    """Codes between which a candidate may lie on either side of a border."""
    ranges: Int64[np.ndarray, "pools intervals two"]
    """Codes between which a candidate may enter a pool."""
    marked: UInt8[np.ndarray, " rows"]
    """1 where a candidate needs a closer look; as long as a whole number of words."""
    places: Int64[np.ndarray, " rows"]
    """Where those are."""
    hashes: UInt32[np.ndarray, " rows"]
    terms: Float32[np.ndarray, " half"]
    cell: Float32[np.ndarray, " one"]


# Inside the loops over candidates, arrays are passed one by one: taking them out of a tuple there
# would count references, which two threads cannot do at once.


@compiled
@no_type_check
def scan(sketched, tile, asked, wanted, found, product_error):
    """Lets a tile pass by a block of queries, and adds what they find to `found`.

    Args:
        sketched: A `Sketched`.
        tile: A `Tile`.
        asked: An `Asked`.
        wanted: A `Wanted`.
        found: A `Found`, whose arrays are changed.
        product_error: How far `nearly_cosine` may be off.
    """
    codes = sketched.codes
    rows, pools = codes.shape[1], wanted.scopes.shape[0]
    room = _Room(
        limits=np.empty((asked.border_rows.shape[1], 2), codes.dtype),
        ranges=np.empty((pools, 2, 2), codes.dtype),
        marked=unmarked(rows),
        places=np.empty(rows, np.int64),
        hashes=np.zeros(rows, np.uint32),
        terms=np.empty((tile.vectors.shape[1] + 1) // 2, np.float32),
        cell=np.empty(1, np.float32),
    )
    scoped, nobody = tile.members.shape[0] > 0, np.zeros(rows, np.bool_)
    for query in range(codes.shape[0]):
        row, own = codes[query], nobody
        if scoped:
            own = tile.members[asked.categories[query]]
        order_codes(row)
        _set_limits(query, sketched, asked, wanted, room)
        if _count(row, own, scoped, room.limits, found.nearer[query], room.marked):
            _settle(
                row, own, tile.rows, tile.vectors, asked.vectors[query],
                asked.border_distances[query], asked.border_rows[query], found.nearer[query],
                room.limits, room.marked, room.places, room.terms, product_error,
            )  # fmt: skip
        for pool in range(pools):
            if pool == wanted.first_fill and _all_full(query, pool, found):
                break
            _offer(query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error)


@compiled
@no_type_check
def _set_limits(query, sketched, asked, wanted, room):
    zero, error, shift = sketched.zeros[query], sketched.errors[query], sketched.shift
    for border in range(room.limits.shape[0]):
        distance = asked.border_distances[query, border]
        _limit(room.limits[border], distance, distance, zero, error, shift, room.cell)
    for pool in range(room.ranges.shape[0]):
        for part in range(2):
            low = wanted.low_distances[query, pool, part]
            high = wanted.high_distances[query, pool, part]
            _limit(room.ranges[pool, part], low, high, zero, error, shift, room.cell)


@compiled
@no_type_check
def _limit(limit, low, high, zero, error, shift, cell):
    """The codes that a candidate of a distance from `low` to `high` may have."""
    least, most = np.iinfo(limit.dtype).min + 1, np.iinfo(limit.dtype).max
    limit[0], limit[1] = least, most
    if low == np.inf:
        limit[0], limit[1] = most, least
        return
    if high < np.inf:
        limit[0] = max(code_of(1.0 - high - zero - error, shift, cell), least)
    if low > -np.inf:
        limit[1] = min(code_of(1.0 - low - zero + error, shift, cell) + 1, most)


# ----------------------------------------------------------------------------------- counts


@compiled
@no_type_check
def _count(row, own, scoped, limits, nearer, marked):
    """Counts the candidates surely before each border; whether it marked any to settle."""
    unsure, every, ours = False, 0, 0
    for border in range(limits.shape[0]):
        low, high = limits[border, 0], limits[border, 1]
        if border == 0 or low != limits[border - 1, 0] or high != limits[border - 1, 1]:
            every = _count_from(row, high, False)
            ours = _count_own(row, own, high) if scoped else 0
            unsure |= _mark_between(row, low, high, marked)
        nearer[border, 0] += every
        nearer[border, 1] += ours
    return unsure


@compiled
@no_type_check
def _count_from(row, least, itself):
    """How many codes are above `least`, or that itself."""
    count = np.int16(0)
    for place in range(row.shape[0]):
        count += np.int16((row[place] > least) | (itself & (row[place] == least)))
    return np.int64(count)


@compiled
@no_type_check
def _count_own(row, own, high):
    count = np.int16(0)
    for place in range(row.shape[0]):
        count += np.int16((row[place] > high) & own[place])
    return np.int64(count)


@compiled
@no_type_check
def _mark_between(row, low, high, marked):
    """Marks the codes from `low` to `high`, beside those marked; whether there is one."""
    some = np.int16(0)
    for place in range(row.shape[0]):
        between = np.int16((row[place] >= low) & (row[place] <= high))
        some |= between
        marked[place] |= np.uint8(between)
    return some != 0


@compiled
@no_type_check
def _settle(
    row, own, names, vectors, vector, distances, rows, nearer,
    limits, marked, places, terms, product_error,
):  # fmt: skip
    """Counts the marked candidates, of whose borders the sketch is unsure."""
    for turn in range(list_marked(marked, places)):
        place, exact = places[turn], False
        distance = np.float32(1) - nearly_cosine(vector, vectors[place])
        for border in range(limits.shape[0]):
            if row[place] < limits[border, 0] or row[place] > limits[border, 1]:
                continue
            if not exact and abs(distance - distances[border]) <= product_error:
                distance, exact = np.float32(1) - cosine(vector, vectors[place], terms), True
            before = _before(distance, names[place], distances[border], rows[border])
            nearer[border, 0] += before
            nearer[border, 1] += before & own[place]


@compiled
@no_type_check
def _before(distance, row, other_distance, other_row):
    """Whether one (distance, row) is less than another."""
    return distance < other_distance or (distance == other_distance and row < other_row)


# ------------------------------------------------------------------------------------ pools


@compiled
@no_type_check
def _all_full(query, pools, found):
    """Whether the first pools of a query hold as many as they can."""
    full = True
    for pool in range(pools):
        full &= found.sizes[query, pool] == found.keys.shape[2]
    return full


@compiled
@no_type_check
def _offer(query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error):
    """Offers a tile to a pool; its nearest first, to one of the nearest that has room."""
    priority, keys, ranges = wanted.priorities[pool], found.keys[query, pool], room.ranges[pool]
    full, most = found.sizes[query, pool] == keys.shape[0], _MOST
    first = np.int64(np.iinfo(row.dtype).min)
    if priority == NEAREST:
        if full:
            _close(query, ranges, keys[0], sketched, room.cell)
        else:
            first = _code_of_nearest(row, ranges, keys.shape[0])
    else:
        hash_rows(tile.rows, wanted.hash_keys[query, pool], room.hashes)
        if full and priority == UNIFORM:
            most = keys[0]
    lowest = ranges[0, 0], ranges[1, 0]
    for part in range(2):
        ranges[part, 0] = max(lowest[part], first)
    _offer_range(
        query, pool, row, own, most, sketched, tile, asked, wanted, found, room, product_error
    )
    if first > min(lowest):
        for part in range(2):
            ranges[part, 0] = lowest[part]
            ranges[part, 1] = min(ranges[part, 1], first - 1)
        if found.sizes[query, pool] == keys.shape[0]:
            _close(query, ranges, keys[0], sketched, room.cell)
        _offer_range(
            query, pool, row, own, most, sketched, tile, asked, wanted, found, room, product_error
        )


@compiled
@no_type_check
def _close(query, ranges, worst, sketched, cell):
    """Shuts out the codes of candidates that are surely farther than the worst in the pool."""
    number = 1.0 - worst - sketched.zeros[query] - sketched.errors[query]
    least = min(code_of(number, sketched.shift, cell), np.iinfo(ranges.dtype).max)
    for part in range(2):
        ranges[part, 0] = max(ranges[part, 0], least)


@compiled
@no_type_check
def _code_of_nearest(row, ranges, count):
    """The greatest code that at least `count` codes below the end of a range reach, if any is.

    Codes of halved intervals are tried, each of which is one look at the row.
    """
    high = max(ranges[0, 1], ranges[1, 1])
    above = _count_from(row, high, False)
    low, top = np.int64(min(ranges[0, 0], ranges[1, 0])), np.int64(high)
    while low < top:
        middle = (low + top + 1) // 2
        if _count_from(row, row.dtype.type(middle), True) - above >= count:
            low = middle
        else:
            top = middle - 1
    return low


@compiled
@no_type_check
def _offer_range(query, pool, row, own, most, sketched, tile, asked, wanted, found, room, error):
    """Offers the candidates whose codes are in the ranges of a pool."""
    ranges, hashes, marked = room.ranges[pool], room.hashes, room.marked
    if wanted.priorities[pool] == UNIFORM:
        some = _mark_hashed(row, ranges, hashes, np.uint32(min(most, _MOST)), marked)
    else:
        some = _mark(row, ranges, marked)
    if some:
        _let_in(
            row, own, tile.rows, tile.vectors, asked.vectors[query], wanted.scopes[pool],
            wanted.priorities[pool], sketched.zeros[query], sketched.errors[query],
            sketched.shift, wanted.temperature,
            wanted.low_distances[query, pool], wanted.low_rows[query, pool],
            wanted.high_distances[query, pool], wanted.high_rows[query, pool],
            found.keys[query, pool], found.rows[query, pool], found.distances[query, pool],
            found.sizes[query], pool, marked, room.places, hashes, room.terms, room.cell, error,
        )  # fmt: skip


@compiled
@no_type_check
def _mark(row, ranges, marked):
    """Marks the candidates in either range; whether there is one."""
    low, high, also_low, also_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    some = np.int16(0)
    if also_low > also_high:
        for place in range(row.shape[0]):
            within = np.int16((row[place] >= low) & (row[place] <= high))
            some |= within
            marked[place] = np.uint8(within)
        return some != 0
    for place in range(row.shape[0]):
        code = row[place]
        within = np.int16(
            ((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high))
        )
        some |= within
        marked[place] = np.uint8(within)
    return some != 0


@compiled
@no_type_check
def _mark_hashed(row, ranges, hashes, most, marked):
    """Marks the candidates in either range whose hash is at most `most`; whether there is one."""
    low, high, also_low, also_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    some = np.int16(0)
    if low == np.iinfo(row.dtype).min + 1 and high == np.iinfo(row.dtype).max:
        for place in range(row.shape[0]):
            within = np.int16((hashes[place] <= most) & (row[place] >= low))
            some |= within
            marked[place] = np.uint8(within)
        return some != 0
    for place in range(row.shape[0]):
        code = row[place]
        within = np.int16(
            (((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high)))
            & (hashes[place] <= most)
        )
        some |= within
        marked[place] = np.uint8(within)
    return some != 0


@compiled
@no_type_check
def _let_in(
    row, own, names, vectors, vector, scope, priority, zero, error, shift, temperature,
    low_distances, low_rows, high_distances, high_rows,
    keys, rows, distances, sizes, pool, marked, places, hashes, terms, cell, product_error,
):  # fmt: skip
    """Lets those marked candidates into a pool that may be there and are better than the worst."""
    size, kept = sizes[pool], keys.shape[0]
    for turn in range(list_marked(marked, places)):
        place = places[turn]
        name, candidate, word = names[place], vectors[place], hashes[place]
        if scope != _ANY and own[place] == (scope == _OTHER):
            continue
        if size == kept:
            most = number_of(np.int64(row[place]) + 1, shift, cell) + zero + error
            if keys[0] < _least_key(
                priority, vector, candidate, most, word, temperature, product_error
            ):
                continue
        distance = np.float32(1) - cosine(vector, candidate, terms)
        if not _within(distance, name, low_distances, low_rows, high_distances, high_rows):
            continue
        key = _key(priority, distance, word, temperature)
        if size < kept:
            hole = _rise(keys, rows, distances, size, key, name)
            size += 1
        elif _before(key, name, keys[0], rows[0]):
            hole = _sink(keys, rows, distances, key, name)
        else:
            continue
        keys[hole], rows[hole], distances[hole] = key, name, distance
    sizes[pool] = size


@compiled
@no_type_check
def _least_key(priority, vector, candidate, similarity, word, temperature, product_error):
    """What a candidate's key is at least, given what its similarity is at most."""
    if priority == NEAREST:
        return np.float64(np.float32(1) - nearly_cosine(vector, candidate)) - product_error
    if priority == SOFTMAX:
        return (1.0 - similarity) / temperature - gumbel_ceiling(word)
    return np.float64(word)


@compiled
@no_type_check
def _within(distance, row, low_distances, low_rows, high_distances, high_rows):
    """Whether (distance, row) lies in one of the intervals."""
    for part in range(low_rows.shape[0]):
        if not _before(distance, row, low_distances[part], low_rows[part]) and _before(
            distance, row, high_distances[part], high_rows[part]
        ):
            return True
    return False


@compiled
@no_type_check
def _key(priority, distance, word, temperature):
    """What a pool orders by (`cir.mining.priorities`)."""
    if priority == NEAREST:
        return np.float64(distance)
    if priority == SOFTMAX:
        return np.float64(distance) / temperature - gumbel(word)
    return np.float64(word)


@compiled
@no_type_check
def _rise(keys, rows, distances, size, key, row):
    """Moves lesser entries down from the end of a heap; the place that is left for (key, row)."""
    place = size
    while place > 0 and _before(keys[(place - 1) // 2], rows[(place - 1) // 2], key, row):
        above = (place - 1) // 2
        keys[place], rows[place], distances[place] = keys[above], rows[above], distances[above]
        place = above
    return place


@compiled
@no_type_check
def _sink(keys, rows, distances, key, row):
    """Moves greater entries up from the root of a heap; the place that is left for (key, row)."""
    place = 0
    while 2 * place + 1 < keys.shape[0]:
        below = 2 * place + 1
        if below + 1 < keys.shape[0] and _before(
            keys[below], rows[below], keys[below + 1], rows[below + 1]
        ):
            below += 1
        if not _before(key, row, keys[below], rows[below]):
            break
        keys[place], rows[place], distances[place] = keys[below], rows[below], distances[below]
        place = below
    return place
