"""Candidates let into the pools of a query: those of least key where each pool draws from."""

from typing import Final, no_type_check

import numpy as np

from cir.mining.numerics.float_codes import code_of, number_of
from cir.mining.numerics.jit import compiled
from cir.mining.scan.threshold_counts import count_from
from cir.mining.scan.heaps import sift_up, sift_down
from cir.mining.numerics.bytemask import list_marked
from cir.mining.numerics.ordering import before
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, gumbel, gumbel_ceiling, hash_of
from cir.mining.numerics.cosine import cosine, nearly_cosine
from cir.types import SCOPES

_ANY: Final = SCOPES.index("any")
_SAME: Final = SCOPES.index("same-category")
_MOST: Final = 2.0**32 - 1
"""The greatest hash."""
_TIMES: Final = 8
"""So many times what a pool holds are first offered to it, of a tile whose hashes are even."""


@compiled
@no_type_check
def all_full(query, pools, wanted, found):
    """Whether the first pools of a query, those that it needs, hold as many as they can."""
    full = True
    for pool in range(pools):
        full &= not wanted.needed[query, pool] or found.sizes[query, pool] == found.keys.shape[2]
    return full


@compiled
@no_type_check
def offer(query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error):
    """Offers a tile to a pool; its likeliest first, to one that has room."""
    priority, keys = wanted.priorities[pool], found.keys[query, pool]
    full, most = found.sizes[query, pool] == keys.shape[0], _MOST
    if priority == NEAREST and not full:
        _offer_nearest(
            query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error
        )
    elif priority == UNIFORM and not full:
        _offer_least_hashed(
            query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error
        )
    else:
        if priority == NEAREST:
            _close(query, room.ranges[pool], keys[0], sketched, room.cell)
        elif priority == UNIFORM:
            most = keys[0]
        _offer_range(
            query, pool, row, own, 0, most,
            sketched, tile, asked, wanted, found, room, product_error,
        )  # fmt: skip


@compiled
@no_type_check
def _offer_nearest(
    query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error
):
    """Offers as many as the pool holds, those of greatest code, and then the rest."""
    keys, ranges = found.keys[query, pool], room.ranges[pool]
    first, lowest = _code_of_nearest(row, ranges, keys.shape[0]), (ranges[0, 0], ranges[1, 0])
    for part in range(2):
        ranges[part, 0] = max(lowest[part], first)
    _offer_range(
        query, pool, row, own, 0, _MOST,
        sketched, tile, asked, wanted, found, room, product_error,
    )  # fmt: skip
    if first > min(lowest):
        for part in range(2):
            ranges[part, 0] = lowest[part]
            ranges[part, 1] = min(ranges[part, 1], first - 1)
        if found.sizes[query, pool] == keys.shape[0]:
            _close(query, ranges, keys[0], sketched, room.cell)
        _offer_range(
            query, pool, row, own, 0, _MOST,
            sketched, tile, asked, wanted, found, room, product_error,
        )  # fmt: skip


@compiled
@no_type_check
def _offer_least_hashed(
    query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error
):
    """Offers several times as many as the pool holds, those of least hash, and then the rest."""
    kept = found.keys.shape[2]
    likely = min(_MOST, np.floor(_MOST * _TIMES * kept / row.shape[0]))
    _offer_range(
        query, pool, row, own, 0, likely,
        sketched, tile, asked, wanted, found, room, product_error,
    )  # fmt: skip
    if likely < _MOST and found.sizes[query, pool] < kept:
        _offer_range(
            query, pool, row, own, likely + 1, _MOST,
            sketched, tile, asked, wanted, found, room, product_error,
        )  # fmt: skip


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
    above = count_from(row, high, False)
    low, top = np.int64(min(ranges[0, 0], ranges[1, 0])), np.int64(high)
    while low < top:
        middle = (low + top + 1) // 2
        if count_from(row, row.dtype.type(middle), True) - above >= count:
            low = middle
        else:
            top = middle - 1
    return low


@compiled
@no_type_check
def _offer_range(
    query, pool, row, own, least, most, sketched, tile, asked, wanted, found, room, error
):
    """Offers the candidates whose codes are in the ranges of a pool.

    Where hashes decide, those from `least` to `most`.
    """
    ranges, keys, marked = room.ranges[pool], wanted.hash_keys[query, pool], room.marked
    scope, belongs = wanted.scopes[pool], wanted.scopes[pool] == _SAME
    if scope == _ANY:
        own = room.own
    if wanted.priorities[pool] == UNIFORM:
        some = _mark_hashed(
            row, own, belongs, ranges,
            tile.words, keys[0], keys[1], np.uint32(least), np.uint32(most), marked,
        )  # fmt: skip
    else:
        some = _mark(row, own, belongs, ranges, marked)
    if some:
        _let_in(
            row, tile.rows, tile.words, tile.vectors, asked.vectors[query],
            wanted.priorities[pool],
            sketched.zeros[query], sketched.errors[query], sketched.shift, wanted.temperature,
            wanted.low_distances[query, pool], wanted.low_rows[query, pool],
            wanted.high_distances[query, pool], wanted.high_rows[query, pool],
            found.keys[query, pool], found.rows[query, pool], found.distances[query, pool],
            found.sizes[query], pool, marked, room.places, keys, room.terms, room.cell, error,
        )  # fmt: skip


@compiled
@no_type_check
def _mark(row, own, belongs, ranges, marked):
    """Marks the candidates in either range that belong where they should; whether there is one."""
    low, high, also_low, also_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    some = np.uint8(0)
    if also_low > also_high:
        for place in range(row.shape[0]):
            within = np.uint8((row[place] >= low) & (row[place] <= high) & (own[place] == belongs))
            some = np.uint8(some | within)
            marked[place] = within
        return some != 0
    for place in range(row.shape[0]):
        code = row[place]
        within = np.uint8(
            (((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high)))
            & (own[place] == belongs)
        )
        some = np.uint8(some | within)
        marked[place] = within
    return some != 0


@compiled
@no_type_check
def _mark_hashed(row, own, belongs, ranges, words, first, second, least, most, marked):
    """As `_mark`, of those whose hash is in a range too."""
    low, high, also_low, also_high = ranges[0, 0], ranges[0, 1], ranges[1, 0], ranges[1, 1]
    some, width = np.uint8(0), np.uint32(most - least)
    for place in range(row.shape[0]):
        code = row[place]
        within = np.uint8(
            (((code >= low) & (code <= high)) | ((code >= also_low) & (code <= also_high)))
            & (own[place] == belongs)
            & (np.uint32(hash_of(words[place], first, second) - least) <= width)
        )
        some = np.uint8(some | within)
        marked[place] = within
    return some != 0


@compiled
@no_type_check
def _let_in(
    row, names, words, vectors, vector, priority, zero, error, shift, temperature,
    low_distances, low_rows, high_distances, high_rows,
    keys, rows, distances, sizes, pool, marked, places, hash_keys, terms, cell, product_error,
):  # fmt: skip
    """Lets those marked candidates into a pool that may be there and are better than the worst."""
    size, kept = sizes[pool], keys.shape[0]
    for turn in range(list_marked(marked, places)):
        place = places[turn]
        name, candidate, word = names[place], vectors[place], np.uint32(0)
        if priority != NEAREST:
            word = hash_of(words[place], hash_keys[0], hash_keys[1])
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
            hole = sift_up(keys, rows, distances, size, key, name)
            size += 1
        elif before(key, name, keys[0], rows[0]):
            hole = sift_down(keys, rows, distances, key, name)
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
        if not before(distance, row, low_distances[part], low_rows[part]) and before(
            distance, row, high_distances[part], high_rows[part]
        ):
            return True
    return False


@compiled
@no_type_check
def _key(priority, distance, word, temperature):
    """What a pool orders by (`cir.mining.scan.sampling_keys`)."""
    if priority == NEAREST:
        return np.float64(distance)
    if priority == SOFTMAX:
        return np.float64(distance) / temperature - gumbel(word)
    return np.float64(word)
