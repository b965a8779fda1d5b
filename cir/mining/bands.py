"""Where bands begin and end, for each query, and how many candidates lie between.

Candidates are ordered by their key, (distance, gallery row). With d(q,t) the distance of the
target and m the margin, in float32,

    hard        d < d(q,t)
    semi-hard   d(q,t) < d < d(q,t) + m
    easy        the rest; a candidate exactly as far as the target is easy
    adaptive    between two keys behind the target (`cir.mining.steep_drops`), whatever the kind

The filters of a plan set a first and a last key, between which candidates are eligible.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64

from cir.mining.plan import Plan
from cir.types import KINDS, Band

_BEFORE_ALL_ROWS: Final = -1
_LAST_ROW: Final = np.iinfo(np.int64).max
_DROPS: Final = ("first_drop", "second_drop")
_BANDS: Final[Mapping[Band, tuple[tuple[str, str], ...]]] = {
    "any": (("start", "end"),),
    "hard": (("start", "target"),),
    "semi-hard": (("beyond", "margin"),),
    "easy": (("target", "beyond"), ("far", "end")),
    "adaptive": (_DROPS,),
}
"""Where each band begins and ends, once or twice, by names: `start` and `end` are those of all
candidates, `beyond` is behind those as near as the target, `far` is the later of that and the
margin; the others are thresholds of `Borders`."""
_BOUNDED: Final = ("semi-hard", "easy")
"""Bands that the margin bounds."""
_FILTERS: Final = ("relative_margin", "max_similarity", "range_min", "range_max")
_Place = TypeVar("_Place")
"""A place among the candidates of each query: a key, or how many are before it."""


class Keys(NamedTuple):
    """A (distance, gallery row) for each query; not the key by which a pool samples."""

    distances: Float32[np.ndarray, " queries"]
    rows: Int64[np.ndarray, " queries"]


Counts = Int64[np.ndarray, "queries scopes"]
"""Candidates of each query, by scope as in `BandCounts`."""
Interval = tuple[Keys, Keys]
"""From the first key on, up to but not including the second."""


def keys_at(distances: Float32[np.ndarray, " queries"], row: int = _BEFORE_ALL_ROWS) -> Keys:
    """Keys of one gallery row; by default before every candidate of that distance."""
    return Keys(distances, np.full(len(distances), row))


def later(one: Keys, other: Keys) -> Keys:
    """The greater key of each query."""
    return Keys(*(np.where(_after(one, other), a, b) for a, b in zip(one, other, strict=True)))


def earlier(one: Keys, other: Keys) -> Keys:
    """The lesser key of each query."""
    return Keys(*(np.where(_after(one, other), b, a) for a, b in zip(one, other, strict=True)))


def _after(one: Keys, other: Keys) -> Bool[np.ndarray, " queries"]:
    tied = one.distances == other.distances
    after: Bool[np.ndarray, " queries"] = (one.distances > other.distances) | (
        tied & (one.rows > other.rows)
    )
    return after


@dataclass(frozen=True, eq=False)
class Borders:
    """Where kinds meet, and between which keys candidates are eligible."""

    targets: Float32[np.ndarray, " queries"]
    """d(q,t)."""
    margins: Float32[np.ndarray, " queries"]
    """d(q,t) + m."""
    filters: dict[str, Keys]
    """By name of the plan's filters: the first key that a filter leaves eligible; of `range_max`,
    the first that it does not."""
    bounded: bool
    """Whether any band of the plan begins or ends at the margin; otherwise the margin is no
    threshold."""
    adaptive: Interval | None = None
    """Where the band `adaptive` lies, if the plan draws from it."""

    @classmethod
    def of(
        cls,
        targets: Float32[np.ndarray, " queries"],
        plan: Plan,
        window: tuple[Keys | None, Keys | None] = (None, None),
        adaptive: Interval | None = None,
    ) -> "Borders":
        """The borders of a plan; `window` holds the keys at its ranks."""
        filters = dict(zip(("range_min", "range_max"), window, strict=True))
        if plan.relative_margin is not None:
            similarity = np.float32(1) - targets
            less, more = np.float32(1 - plan.relative_margin), np.float32(1 + plan.relative_margin)
            ceiling = np.where(similarity < 0, more, less) * similarity
            filters["relative_margin"] = keys_at(_first_distance(ceiling))
        if plan.max_similarity is not None:
            ceiling = np.full(len(targets), plan.max_similarity, dtype=np.float32)
            filters["max_similarity"] = keys_at(_first_distance(ceiling))
        return cls(
            targets=targets,
            margins=targets + np.float32(plan.margin),
            filters={name: keys for name, keys in filters.items() if keys is not None},
            bounded=any(draw.band in _BOUNDED for draw in plan.draws),
            adaptive=adaptive,
        )

    @property
    def thresholds(self) -> dict[str, Keys]:
        """Every key that candidates are counted below, by name."""
        bands = {"beyond": self.beyond, "margin": keys_at(self.margins)} if self.bounded else {}
        drops = zip(_DROPS, self.adaptive or (), strict=self.adaptive is not None)
        return {"target": keys_at(self.targets), **bands, **dict(drops), **self.filters}

    @property
    def beyond(self) -> Keys:
        """Behind every candidate that is as near as the target."""
        return keys_at(self.targets, _LAST_ROW)

    def intervals(self, band: Band) -> tuple[Interval, Interval]:
        """Where the eligible candidates of a band lie.

        Easy ones lie in two intervals: as far as the target, and beyond the margin. The second
        interval of other bands is empty.
        """
        end = self._key("end")
        spans = [(self._key(low), self._key(high)) for low, high in _BANDS[band]]
        first, second = [*spans, (end, end)][:2]
        return self._eligible(first), self._eligible(second)

    def kinds(
        self, queries: Int64[np.ndarray, " pairs"], distances: Float32[np.ndarray, " pairs"]
    ) -> Int8[np.ndarray, " pairs"]:
        """The kind of each (query, distance), as its position in `cir.types.KINDS`."""
        target, margin = self.targets[queries], self.margins[queries]
        codes = np.full(len(queries), KINDS.index("easy"), dtype=np.int8)
        codes[distances < target] = KINDS.index("hard")
        codes[(distances > target) & (distances < margin)] = KINDS.index("semi-hard")
        return codes

    def _key(self, name: str) -> Keys:
        """The key of a place in `_BANDS`."""
        if name == "far":
            return later(self.thresholds["beyond"], self.thresholds["margin"])
        if name in ("start", "end"):
            infinity = np.inf if name == "end" else -np.inf
            return keys_at(np.full(len(self.targets), infinity, dtype=np.float32))
        return self.thresholds[name]

    def _eligible(self, interval: Interval) -> Interval:
        """The part of an interval that the filters leave."""
        return _narrowed(*interval, self.filters, later, earlier)


def _narrowed(
    start: _Place,
    end: _Place,
    filters: Mapping[str, _Place],
    later_of: Callable[[_Place, _Place], _Place],
    earlier_of: Callable[[_Place, _Place], _Place],
) -> tuple[_Place, _Place]:
    """What filters leave of the candidates from one place to another."""
    for name, place in filters.items():
        if name == "range_max":
            end = earlier_of(end, place)
        else:
            start = later_of(start, place)
    return start, end


def _first_distance(ceiling: Float32[np.ndarray, " queries"]) -> Float32[np.ndarray, " queries"]:
    """The least float32 d with 1 − d ≤ ceiling, where 1 − d is rounded to float32 too.

    An exact 1 − d rounds to the ceiling or less up to the middle between the ceiling and the next
    float32. So the search begins two numbers above 1 − middle, and steps down.
    """
    one, up, down = np.float32(1), np.float32(np.inf), np.float32(-np.inf)
    middle = (ceiling.astype(np.float64) + np.nextafter(ceiling, up)) / 2
    about = (1 - middle).astype(np.float32)
    first = np.nextafter(np.nextafter(about, up), up)
    for _ in range(4):
        lower = np.nextafter(first, down)
        first = np.where(one - lower <= ceiling, lower, first)
    least: Float32[np.ndarray, " queries"] = first
    return least


@dataclass(frozen=True, eq=False)
class BandCounts:
    """How many valid candidates lie below each threshold of `Borders`."""

    names: tuple[str, ...]
    """Of the thresholds."""
    counts_below: Int64[np.ndarray, "queries thresholds scopes"]
    """By the first two of `cir.types.SCOPES`, the query's own category and the others, where the
    plan draws by category; otherwise all are in the second."""
    valid: Int64[np.ndarray, "queries scopes"]
    """All valid candidates."""

    def below(self, name: str) -> Int64[np.ndarray, "queries scopes"]:
        """Valid candidates below a threshold."""
        below: Int64[np.ndarray, "queries scopes"] = self.counts_below[:, self.names.index(name)]
        return below

    def in_bands(self, bands: Collection[Band]) -> Int64[np.ndarray, "queries scopes"]:
        """Eligible candidates of any of some bands, each counted once.

        `any` contains the others; of these, `adaptive` alone overlaps any.
        """
        counted: set[Band] = {"any"} if "any" in bands else set(bands)
        apart = [span for band in counted - {"adaptive"} for span in self._spans(band)]
        total = sum((self._eligible(*span) for span in apart), np.zeros_like(self.valid))
        for first, second in self._spans("adaptive") if "adaptive" in counted else ():
            total = total + self._eligible(first, second)
            for start, end in apart:
                total = total - self._eligible(np.maximum(start, first), np.minimum(end, second))
        return total

    def excluded(self, name: str) -> int:
        """Valid candidates that a filter of `Borders` excludes, over all queries."""
        if name not in self.names:
            return 0
        below = int(self.below(name).sum())
        return int(self.valid.sum()) - below if name == "range_max" else below

    def _spans(self, band: Band) -> list[tuple[Counts, Counts]]:
        """How many valid candidates lie before a band, and before its end; of easy ones, twice."""
        return [(self._before(start), self._before(end)) for start, end in _BANDS[band]]

    def _before(self, name: str) -> Counts:
        """How many valid candidates lie before a place in `_BANDS`."""
        if name == "far":
            return np.asarray(np.maximum(self.below("beyond"), self.below("margin")))
        if name in ("start", "end"):
            return self.valid if name == "end" else np.zeros_like(self.valid)
        return self.below(name)

    def _eligible(self, start: Counts, end: Counts) -> Counts:
        """How many candidates between two counts the filters leave."""
        filters = {name: self.below(name) for name in self.names if name in _FILTERS}
        start, end = _narrowed(start, end, filters, np.maximum, np.minimum)
        return np.asarray(np.maximum(end - start, 0))
