"""Candidates drawn from a band: the nearest of it, or a uniform sample of it.

Both depend on the query, the band and the seed alone, not on how queries fall into blocks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32, Int64, UInt64

from cir.mining.similarity import paired_distances

_WEYL: Final = np.uint64(0x9E3779B97F4A7C15)
_ATTEMPTS: Final = 64
"""Gallery rows tried for each query before its band is listed in full."""
_GROUP: Final = 32
"""Candidates whose least distance stands for all of them in the search for the k-th nearest."""
_FAR: Final = np.float32(4)
"""Beyond every distance, which is at most 2."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Gallery rows drawn for a block of queries, as pairs ordered by query."""

    queries: Int64[np.ndarray, " pairs"]
    """Counted within the block."""
    rows: Int64[np.ndarray, " pairs"]

    def counts(self, queries: int) -> Int64[np.ndarray, " queries"]:
        """How many were drawn for each query."""
        return np.bincount(self.queries, minlength=queries).astype(np.int64)


@dataclass(frozen=True)
class Dice:
    """What chance depends on: equal dice fall alike for the same query."""

    seed: int
    throw: int
    """Tells the draws for one query apart."""

    def rows(
        self, numbers: Int64[np.ndarray, " queries"], gallery: int
    ) -> Int64[np.ndarray, "queries attempts"]:
        """Uniform gallery rows for each query number, with repetition."""
        key = _mixed(_mixed(np.array([self.seed], dtype=np.uint64)) ^ np.uint64(self.throw))
        keys = _mixed(key ^ numbers.astype(np.uint64))
        counters = np.arange(1, _ATTEMPTS + 1, dtype=np.uint64) * _WEYL
        unit = (_mixed(keys[:, None] + counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        rows: Int64[np.ndarray, "queries attempts"] = (unit * gallery).astype(np.int64)
        return rows

    def generator(self, number: int) -> np.random.Generator:
        """A generator for one query number."""
        return np.random.default_rng([self.seed, self.throw, number])


def _mixed(values: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijective hash."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


def draw_uniformly(
    band: Bool[np.ndarray, "queries gallery"],
    wanted: Int64[np.ndarray, " queries"],
    numbers: Int64[np.ndarray, " queries"],
    dice: Dice,
) -> Drawn:
    """Draws `wanted` different members of each query's band, each set of them equally likely.

    Rows of the whole gallery are tried, and those kept that are in the band: the first different
    ones are a uniform sample of it. A query whose attempts found too few gets the rest by a uniform
    choice from the members that are left, which no member is favoured by either.

    Args:
        band: Whom to draw from.
        wanted: How many for each query; all of the band where it holds no more.
        numbers: What each query is called by the dice, whatever block it is in.
        dice: Decide.
    """
    found = _first_hits(band, wanted, dice.rows(numbers, band.shape[1]))
    counts = found.counts(len(band))
    queries, rows = [found.queries], [found.rows]
    for query in np.flatnonzero(counts < wanted).tolist():
        left = band[query].copy()
        left[found.rows[found.queries == query]] = False
        more = _choice(
            np.flatnonzero(left), int(wanted[query] - counts[query]), dice, numbers[query]
        )
        queries.append(np.full(len(more), query))
        rows.append(more)
    return _by_query(np.concatenate(queries), np.concatenate(rows))


def draw_nearest(
    band: Bool[np.ndarray, "queries gallery"],
    wanted: Int64[np.ndarray, " queries"],
    nearly: Float32[np.ndarray, "queries gallery"],
    error: float,
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
) -> Drawn:
    """Draws the `wanted` nearest of each query's band, equal distances by gallery row.

    Args:
        band: Whom to draw from.
        wanted: How many for each query; all of the band where it holds no more.
        nearly: Distances within `error`.
        error: Twice of it is how far the order of two of them can be trusted.
        queries: Unit vectors.
        gallery: Unit vectors.
    """
    outside = np.multiply(~band, _FAR, dtype=np.float32)
    nearest = np.fmax(nearly, outside, out=outside)
    limit = _kth_least(nearest, int(wanted.max(initial=1))) + np.float32(2 * error)
    flat = np.flatnonzero(nearest <= np.minimum(limit, _FAR / 2 + 1)[:, None])
    numbers, rows = np.divmod(flat, band.shape[1])
    distances = paired_distances(queries, numbers, gallery, rows)
    order = np.lexsort((rows, distances, numbers))
    numbers, rows = numbers[order], rows[order]
    first = _place_in_query(numbers, len(band)) < wanted[numbers]
    return Drawn(numbers[first], rows[first])


def _kth_least(
    values: Float32[np.ndarray, "queries gallery"], k: int
) -> Float32[np.ndarray, " queries"]:
    """An upper bound of the k-th least value of each row, and nearly that; `_FAR` beyond the end.

    The k-th least of the minima of groups: k different values are not above it.
    """
    size = _GROUP if values.shape[1] >= _GROUP * k else 1
    whole = values.shape[1] // size
    minima = values[:, : whole * size].reshape(len(values), size, whole).min(axis=1)
    if k > whole:
        return np.full(len(values), _FAR)
    least: Float32[np.ndarray, " queries"] = np.partition(minima, k - 1, axis=1)[:, k - 1]
    return least


def _first_hits(
    band: Bool[np.ndarray, "queries gallery"],
    wanted: Int64[np.ndarray, " queries"],
    tried: Int64[np.ndarray, "queries attempts"],
) -> Drawn:
    """The first `wanted` different rows of each query's attempts that are in its band."""
    queries, attempts = np.nonzero(np.take_along_axis(band, tried, axis=1))
    rows = tried[queries, attempts]
    _, first = np.unique(queries * band.shape[1] + rows, return_index=True)
    first.sort()
    queries, rows = queries[first], rows[first]
    kept = _place_in_query(queries, len(band)) < wanted[queries]
    return Drawn(queries[kept], rows[kept])


def _choice(
    members: Int64[np.ndarray, " members"], wanted: int, dice: Dice, number: np.int64
) -> Int64[np.ndarray, " chosen"]:
    if wanted >= len(members):
        return members
    chosen: Int64[np.ndarray, " chosen"] = dice.generator(int(number)).choice(
        members, wanted, replace=False, shuffle=False
    )
    return chosen


def _by_query(queries: Int64[np.ndarray, " pairs"], rows: Int64[np.ndarray, " pairs"]) -> Drawn:
    order = np.argsort(queries, kind="stable")
    return Drawn(queries[order], rows[order])


def _place_in_query(
    queries: Int64[np.ndarray, " pairs"], count: int
) -> Int64[np.ndarray, " pairs"]:
    """0, 1, 2 ... within each run of one query; `queries` ascend."""
    counts = np.bincount(queries, minlength=count)
    starts = np.cumsum(counts) - counts
    places: Int64[np.ndarray, " pairs"] = np.arange(len(queries)) - starts[queries]
    return places
