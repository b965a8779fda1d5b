"""The pools of a query: each keeps the candidates of least key in its band and scope, in a heap."""

import math
from typing import Final, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from cir.mining.numerics.bytemask import list_marked
from cir.mining.numerics.codes import code_of, number_of
from cir.mining.numerics.cosine import cosine, nearly_cosine
from cir.mining.numerics.jit import compiled
from cir.mining.numerics.ordering import before, count_above
from cir.mining.scan.code_bounds import set_pool_codes
from cir.mining.scan.sampling_keys import (
    HASHES,
    NEAREST,
    SOFTMAX,
    UNIFORM,
    greater_gumbels,
    gumbel,
    gumbel_ceiling,
    hash_of,
)
from cir.mining.scan.threshold_counts import is_ambiguous
from cir.types import SCOPES

_ANY: Final = SCOPES.index("any")
_SAME: Final = SCOPES.index("same-category")
_LEAST_HASH: Final = 0.0
_GREATEST_HASH: Final = HASHES - 1
_LEAST_DISTANCE: Final = -0.01
"""No two unit vectors are nearer, whatever their lengths may be off (`cir.mining.problem`)."""
_ROUNDINGS_OF_KEYS: Final = 2.0**-50
"""More than a key, and a bound of it, are off relative to their size."""
_GROWTH: Final = 4
"""How many times as many candidates a pool that is not full is offered next."""
_LIKELY: Final = 2
"""A pool that samples is first offered about so many times the candidates that it keeps."""


class Pool(NamedTuple):
    """One pool of one query."""

    low_distances: Float32[np.ndarray, " intervals"]
    low_rows: Int64[np.ndarray, " intervals"]
    high_distances: Float32[np.ndarray, " intervals"]
    high_rows: Int64[np.ndarray, " intervals"]
    codes: Int[np.ndarray, "intervals two"]
    """The least and the greatest code of candidates that may enter; they are narrowed."""
    first_hash_key: int
    second_hash_key: int
    scope: int
    priority: int
    temperature: float
    keys: Float64[np.ndarray, " kept"]
    """A heap with the greatest (key, row) first."""
    rows: Int64[np.ndarray, " kept"]
    distances: Float32[np.ndarray, " kept"]
    size: Int64[np.ndarray, " one"]
    """How many entries of the heap are filled."""


@compiled
@no_type_check
def all_full(query, count, pools, result):
    """Whether the first `count` pools of a query, those that it needs, keep all that they can."""
    full = True
    for pool in range(count):
        full &= not pools.needed[query, pool] or result.sizes[query, pool] == result.keys.shape[2]
    return full


@compiled
@no_type_check
def offer(query, index, row, tile, vector, pools, result, scratch):
    """Offers the candidates of a tile to one pool.

    A pool that is not full is offered the likeliest first, so that most of the rest is skipped.

    Args:
        query: Which row of `pools` and `result`.
        index: Which of the pools.
        row: A `SketchedRow` of ordered codes.
        tile: A `Tile`.
        vector: That of the query.
        pools: A `PoolRequest`.
        result: A `ScanResult`, whose arrays are changed.
        scratch: A `Scratch`.
    """
    pool = Pool(
        pools.low_distances[query, index],
        pools.low_rows[query, index],
        pools.high_distances[query, index],
        pools.high_rows[query, index],
        scratch.pool_codes,
        pools.hash_keys[query, index, 0],
        pools.hash_keys[query, index, 1],
        pools.scopes[index],
        pools.priorities[index],
        pools.temperature,
        result.keys[query, index],
        result.rows[query, index],
        result.distances[query, index],
        result.sizes[query, index : index + 1],
    )
    set_pool_codes(pool, row, scratch.cell)
    if pool.priority != NEAREST:
        _offer_likeliest_hashed_first(pool, row, tile, vector, scratch)
    elif pool.size[0] < pool.keys.shape[0]:
        _offer_nearest_first(pool, row, tile, vector, scratch)
    else:
        _narrow(pool, row, scratch.cell)
        _offer_range(pool, row, tile, vector, scratch, _LEAST_HASH, _GREATEST_HASH)


@compiled
@no_type_check
def _offer_nearest_first(pool, row, tile, vector, scratch):
    """Offers the likeliest candidates, those of greatest code, until the pool is full; then others.

    So many as the pool keeps are surely beyond the beginning of its band. Should they be of another
    scope, several times as many are offered next.
    """
    codes, kept = pool.codes, pool.keys.shape[0]
    lowest, highest = (codes[0, 0], codes[1, 0]), _greatest_inside(pool, row, scratch.cell)
    first, wanted = np.int64(np.iinfo(codes.dtype).max), kept
    while first > min(lowest):
        if pool.size[0] == kept:
            first = np.int64(min(lowest))
        else:
            first = _code_of_nearest(row.codes, highest, min(lowest), wanted)
        for part in range(2):
            codes[part, 0] = max(lowest[part], first)
        if pool.size[0] == kept:
            _narrow(pool, row, scratch.cell)
        _offer_range(pool, row, tile, vector, scratch, _LEAST_HASH, _GREATEST_HASH)
        for part in range(2):
            codes[part, 1] = min(codes[part, 1], first - 1)
        wanted *= _GROWTH


@compiled
@no_type_check
def _greatest_inside(pool, row, cell):
    """The greatest code of a candidate that is surely beyond the beginning of an interval."""
    greatest = np.int64(np.iinfo(pool.codes.dtype).min + 1)
    for part in range(2):
        inside, low = np.int64(pool.codes[part, 1]), pool.low_distances[part]
        if pool.codes[part, 0] > pool.codes[part, 1]:
            continue
        if low > -np.inf:
            number = 1.0 - low - row.offset - row.error
            inside = min(inside, code_of(number, row.shift, row.step, cell))
        greatest = max(greatest, inside)
    return greatest


@compiled
@no_type_check
def _offer_likeliest_hashed_first(pool, row, tile, vector, scratch):
    """Offers those of likeliest hash, twice as many as a pool keeps, until it is full; then others.

    What earlier tiles gave may be less likely than the rest of this one. Hashes are counted from
    the likeliest: in a uniform sample that is the least, in one by softmax the greatest.
    """
    kept, likely = pool.keys.shape[0], _LIKELY / row.codes.shape[0]
    first, last = 0.0, -1.0
    while last < _GREATEST_HASH and pool.size[0] < kept:
        last = min(_GREATEST_HASH, np.floor(_GREATEST_HASH * likely * kept))
        _offer_hashed(pool, row, tile, vector, scratch, first, last)
        first, likely = last + 1, likely * _GROWTH
    last = _last_hash(pool)
    if first <= last:
        _offer_hashed(pool, row, tile, vector, scratch, first, last)


@compiled
@no_type_check
def _offer_hashed(pool, row, tile, vector, scratch, first, last):
    """Offers the candidates whose hashes, counted from the likeliest, are in a range."""
    if pool.priority == SOFTMAX:
        first, last = _GREATEST_HASH - last, _GREATEST_HASH - first
    _offer_range(pool, row, tile, vector, scratch, first, last)


@compiled
@no_type_check
def _last_hash(pool):
    """The last hash, counted from the likeliest, with which a candidate may enter the pool.

    Into a sample by softmax a candidate at distance d comes with a Gumbel variate of at least
    d / τ − the worst key, and d is no less than where the band begins.
    """
    if pool.size[0] < pool.keys.shape[0]:
        return _GREATEST_HASH
    if pool.priority == UNIFORM:
        return pool.keys[0]
    least = np.inf
    for part in range(pool.low_rows.shape[0]):
        low, high = pool.low_distances[part], pool.high_distances[part]
        if before(low, pool.low_rows[part], high, pool.high_rows[part]):
            least = min(least, np.float64(low))
    scaled, worst = max(least, _LEAST_DISTANCE) / pool.temperature, pool.keys[0]
    bound = scaled - worst - _ROUNDINGS_OF_KEYS * (abs(scaled) + abs(worst))
    # The lowest temperatures make keys infinite, of which only the rows differ.
    return _GREATEST_HASH if math.isnan(bound) else greater_gumbels(bound) - 1


@compiled
@no_type_check
def _narrow(pool, row, cell):
    """Leaves out the codes of candidates that are surely farther than the worst in a full pool."""
    similarity = 1.0 - pool.keys[0] - row.offset - row.error
    least = min(code_of(similarity, row.shift, row.step, cell), np.iinfo(pool.codes.dtype).max)
    for part in range(2):
        pool.codes[part, 0] = max(pool.codes[part, 0], least)


@compiled
@no_type_check
def _code_of_nearest(codes, highest, lowest, count):
    """The greatest code that at least `count` of the codes up to `highest` reach.

    It is `lowest` where there are fewer from that on. The code is found by bisection; each step
    counts over all codes once.
    """
    above = count_above(codes, codes.dtype.type(highest), False)
    low, top = np.int64(lowest), np.int64(highest)
    while low < top:
        middle = (low + top + 1) // 2
        if count_above(codes, codes.dtype.type(middle), True) - above >= count:
            low = middle
        else:
            top = middle - 1
    return low


@compiled
@no_type_check
def _offer_range(pool, row, tile, vector, scratch, least_hash, greatest_hash):
    """Offers the candidates whose codes a pool admits, and whose hashes are in a range.

    The hashes count only in a pool that samples.
    """
    members, member = row.members, pool.scope == _SAME
    # Of `no_members`, all rows are the same: none is a member, and none has to be.
    if pool.scope == _ANY:
        members = scratch.no_members
    if pool.priority != NEAREST:
        some = _mark_hashed(
            row.codes, members, member, pool.codes,
            tile.row_ids_u32, pool.first_hash_key, pool.second_hash_key,
            np.uint32(least_hash), np.uint32(greatest_hash), scratch.marked,
        )  # fmt: skip
    else:
        some = _mark(row.codes, members, member, pool.codes, scratch.marked)
    if some:
        _insert_marked(pool, row, tile, vector, scratch)


@compiled
@no_type_check
def _mark(codes, members, member, pool_codes, marked):
    """Marks the candidates in either range that are members, or where `member` is false are not.

    Returns:
        Whether any is marked.
    """
    low, high = pool_codes[0, 0], pool_codes[0, 1]
    also_low, also_high = pool_codes[1, 0], pool_codes[1, 1]
    some = np.uint8(0)
    if also_low > also_high:
        for position in range(codes.shape[0]):
            code = codes[position]
            within = np.uint8((code >= low) & (code <= high) & (members[position] == member))
            some = np.uint8(some | within)
            marked[position] = within
        return some != 0
    for position in range(codes.shape[0]):
        code = codes[position]
        within = np.uint8(
            (((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high)))
            & (members[position] == member)
        )
        some = np.uint8(some | within)
        marked[position] = within
    return some != 0


@compiled
@no_type_check
def _mark_hashed(codes, members, member, pool_codes, row_ids, first, second, least, most, marked):
    """As `_mark`, but only candidates whose hash is from `least` to `most`."""
    low, high = pool_codes[0, 0], pool_codes[0, 1]
    also_low, also_high = pool_codes[1, 0], pool_codes[1, 1]
    # A hash below `least` becomes a great number by the subtraction: one comparison is enough.
    some, width = np.uint8(0), np.uint32(most - least)
    for position in range(codes.shape[0]):
        code = codes[position]
        within = np.uint8(
            (((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high)))
            & (members[position] == member)
            & (np.uint32(hash_of(row_ids[position], first, second) - least) <= width)
        )
        some = np.uint8(some | within)
        marked[position] = within
    return some != 0


@compiled
@no_type_check
def _insert_marked(pool, row, tile, vector, scratch):
    """Inserts the marked candidates that the pool admits and that are better than its worst."""
    kept, keys = pool.keys.shape[0], pool.keys
    for index in range(list_marked(scratch.marked, scratch.positions)):
        position, full = scratch.positions[index], pool.size[0] == kept
        word = np.uint32(0)
        if pool.priority != NEAREST:
            word = hash_of(tile.row_ids_u32[position], pool.first_hash_key, pool.second_hash_key)
        if full and keys[0] < _least_key(pool, row, position, word, scratch.cell):
            continue
        if _surely_rejected(pool, row, position, tile, vector, scratch):
            continue
        global_row, candidate = tile.global_rows[position], tile.vectors[position]
        distance = np.float32(1) - cosine(vector, candidate, scratch.terms)
        if not _admits(pool, distance, global_row):
            continue
        key = _key(pool, distance, word)
        if not full:
            hole = _sift_up(pool, key, global_row)
            pool.size[0] += 1
        elif before(key, global_row, keys[0], pool.rows[0]):
            hole = _sift_down(pool, key, global_row)
        else:
            continue
        keys[hole], pool.rows[hole], pool.distances[hole] = key, global_row, distance


@compiled
@no_type_check
def _least_key(pool, row, position, word, cell):
    """A lower bound of a candidate's key, from its code."""
    if pool.priority == UNIFORM:
        return np.float64(word)
    similarity = number_of(np.int64(row.codes[position]) + 1, row.shift, row.step, cell)
    distance = 1.0 - (similarity + row.offset + row.error)
    if pool.priority == SOFTMAX:
        return distance / pool.temperature - gumbel_ceiling(word)
    return distance


@compiled
@no_type_check
def _surely_rejected(pool, row, position, tile, vector, scratch):
    """Whether a candidate's similarity, nearly, rules it out of the pool.

    It is at hand where the code left the candidate in doubt at a threshold
    (`threshold_counts.count_ambiguous_exactly`); otherwise only a full pool of the nearest, which
    takes few of those that it is offered, is worth the comparison.
    """
    full_of_nearest = pool.priority == NEAREST and pool.size[0] == pool.keys.shape[0]
    if is_ambiguous(row.codes[position], scratch.threshold_codes):
        near = scratch.cosines[position]
    elif full_of_nearest:
        near = nearly_cosine(vector, tile.vectors[position])
    else:
        return False
    distance, error = np.float64(np.float32(1) - near), row.product_error
    if full_of_nearest and pool.keys[0] < distance - error:
        return True
    for part in range(pool.low_rows.shape[0]):
        low, high = pool.low_distances[part], pool.high_distances[part]
        if low <= distance + error and distance - error <= high:
            return False
    return True


@compiled
@no_type_check
def _admits(pool, distance, row):
    """Whether (distance, row) lies in one of the pool's intervals."""
    for part in range(pool.low_rows.shape[0]):
        if not before(distance, row, pool.low_distances[part], pool.low_rows[part]) and before(
            distance, row, pool.high_distances[part], pool.high_rows[part]
        ):
            return True
    return False


@compiled
@no_type_check
def _key(pool, distance, word):
    """What a pool orders by (`cir.mining.scan.sampling_keys`)."""
    if pool.priority == NEAREST:
        return np.float64(distance)
    if pool.priority == SOFTMAX:
        return np.float64(distance) / pool.temperature - gumbel(word)
    return np.float64(word)


@compiled
@no_type_check
def _sift_up(pool, key, row):
    """Moves lesser entries down from the end of the heap; the hole that is left for (key, row)."""
    keys, rows, distances = pool.keys, pool.rows, pool.distances
    hole = pool.size[0]
    while hole > 0 and before(keys[(hole - 1) // 2], rows[(hole - 1) // 2], key, row):
        parent = (hole - 1) // 2
        keys[hole], rows[hole], distances[hole] = keys[parent], rows[parent], distances[parent]
        hole = parent
    return hole


@compiled
@no_type_check
def _sift_down(pool, key, row):
    """Moves greater entries up from the root of the heap; the hole that is left for (key, row)."""
    keys, rows, distances = pool.keys, pool.rows, pool.distances
    hole = 0
    while 2 * hole + 1 < keys.shape[0]:
        child = 2 * hole + 1
        if child + 1 < keys.shape[0] and before(
            keys[child], rows[child], keys[child + 1], rows[child + 1]
        ):
            child += 1
        if not before(key, row, keys[child], rows[child]):
            break
        keys[hole], rows[hole], distances[hole] = keys[child], rows[child], distances[child]
        hole = child
    return hole
