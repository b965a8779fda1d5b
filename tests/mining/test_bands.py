"""Where bands begin and end, against plain loops over candidates."""

from collections import Counter
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.mining.bands import BandCounts, Borders, Keys, _first_distance, earlier, keys_at, later
from cir.mining.plan import Draw, Plan
from cir.types import KINDS, Band

ONE = np.float32(1)
BANDS: tuple[Band, ...] = get_args(Band)
DISJOINT: tuple[Band, ...] = ("hard", "semi-hard", "easy")
QUERIES, CANDIDATES = 5, 30
FILTERS: list[dict[str, Any]] = [
    {},
    {"relative_margin": 0.0},
    {"relative_margin": 0.3},
    {"max_similarity": 0.625},
    {"max_similarity": -0.25},
    {"range_min": 4},
    {"range_max": 9},
    {"range_min": 7, "range_max": 8},
    {"range_min": 100},
    {"range_max": 100},
    {"relative_margin": 0.1, "max_similarity": 0.5, "range_min": 3, "range_max": 20},
]


def plan_for(margin: float, filters: dict[str, Any], band: Band = "easy") -> Plan:
    return Plan((Draw("any", 1.0, band),), num_negatives=1, margin=margin, **filters)


def kind_of(distance: np.float32, target: np.float32, margin: float) -> str:
    """Section 3 of the design, word for word."""
    if distance < target:
        return "hard"
    if target < distance < target + np.float32(margin):
        return "semi-hard"
    return "easy"


def excluding_filters(
    rank: int, distance: np.float32, target: np.float32, filters: dict[str, Any]
) -> set[str]:
    """The filters that exclude a candidate that `rank` others come before."""
    similarity, own, found = ONE - distance, ONE - target, set()
    if "relative_margin" in filters:
        margin = filters["relative_margin"]
        ceiling = own * np.float32(1 + margin if own < 0 else 1 - margin)
        if similarity > ceiling:
            found.add("relative_margin")
    if "max_similarity" in filters and similarity > np.float32(filters["max_similarity"]):
        found.add("max_similarity")
    if rank < filters.get("range_min", 0):
        found.add("range_min")
    if rank >= filters.get("range_max", np.inf):
        found.add("range_max")
    return found


class World:
    """Distances on a coarse grid, so that candidates tie with each other and with borders."""

    def __init__(self, seed: int, grid: int, margin: float, filters: dict[str, Any]) -> None:
        rng = np.random.default_rng(seed)
        self.margin, self.filters = margin, filters
        self.targets, self.distances = (
            (rng.integers(0, 2 * grid + 1, shape) / grid).astype(np.float32)
            for shape in (QUERIES, (QUERIES, CANDIDATES))
        )
        self.same = rng.random((QUERIES, CANDIDATES)) < 0.5
        rows = np.arange(CANDIDATES)
        self.order = np.array([np.lexsort((rows, own)) for own in self.distances])
        self.ranks = np.argsort(self.order, axis=1)
        window = self._filter_key("range_min"), self._filter_key("range_max")
        self.drops = sorted(rng.choice(CANDIDATES, 2, replace=False).tolist())
        first, second = map(self._key_at, self.drops)
        plan = plan_for(margin, filters)
        self.borders = Borders.of(self.targets, plan, window, (first, second))

    def _filter_key(self, name: str) -> Keys | None:
        return self._key_at(self.filters[name]) if name in self.filters else None

    def _key_at(self, rank: int) -> Keys:
        """The key of the candidate that `rank` others come before."""
        if rank >= CANDIDATES:
            return keys_at(np.full(QUERIES, np.inf, np.float32))
        rows = self.order[:, rank]
        return Keys(self.distances[np.arange(QUERIES), rows], rows)

    def kind(self, query: int, row: int) -> str:
        return kind_of(self.distances[query, row], self.targets[query], self.margin)

    def bands(self, query: int, row: int) -> set[str]:
        """Every band that a candidate is of; here, `adaptive` lies between two ranks."""
        between = self.drops[0] <= self.ranks[query, row] < self.drops[1]
        return {"any", self.kind(query, row), *(["adaptive"] if between else [])}

    def excluding(self, query: int, row: int) -> set[str]:
        rank, distance = self.ranks[query, row], self.distances[query, row]
        return excluding_filters(rank, distance, self.targets[query], self.filters)

    def band_counts(self) -> BandCounts:
        thresholds = self.borders.thresholds
        counts_below = np.zeros((QUERIES, len(thresholds), 2), dtype=np.int64)
        for query, row in product(range(QUERIES), range(CANDIDATES)):
            for threshold, keys in enumerate(thresholds.values()):
                key = (keys.distances[query], keys.rows[query])
                below = (self.distances[query, row], row) < key
                counts_below[query, threshold, 1 - int(self.same[query, row])] += below
        valid = np.stack([self.same.sum(axis=1), (~self.same).sum(axis=1)], axis=1)
        return BandCounts(tuple(thresholds), counts_below, valid)


worlds = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from((4, 16, 10**6)),
    st.sampled_from((0.0, 0.125, 0.25, 2.0)),
    st.sampled_from(FILTERS),
)


@pytest.mark.slow
@given(worlds)
def test_bands_hold_the_eligible_candidates_of_their_kind(drawn: Any) -> None:
    world = World(*drawn)
    for band in BANDS:
        intervals = world.borders.intervals(band)
        for query, row in product(range(QUERIES), range(CANDIDATES)):
            key = (world.distances[query, row], row)
            inside = [
                (low.distances[query], low.rows[query]) <= key
                and key < (high.distances[query], high.rows[query])
                for low, high in intervals
            ]
            wanted = band in world.bands(query, row) and not world.excluding(query, row)
            assert sum(inside) == wanted, (band, query, row)


@pytest.mark.slow
@given(worlds)
def test_band_counts_are_what_loops_count(drawn: Any) -> None:
    world = World(*drawn)
    counts, excluded = world.band_counts(), Counter[str]()
    counted = {band: np.zeros((QUERIES, 2), dtype=np.int64) for band in BANDS}
    for query, row in product(range(QUERIES), range(CANDIDATES)):
        why = world.excluding(query, row)
        excluded.update(why)
        if not why:
            for band in world.bands(query, row):
                counted[band][query, 1 - int(world.same[query, row])] += 1  # type: ignore[index]
    for band in BANDS:
        np.testing.assert_array_equal(counts.in_bands({band}), counted[band], err_msg=band)
    for name in ("relative_margin", "max_similarity", "range_min", "range_max"):
        assert counts.excluded(name) == excluded[name]


@pytest.mark.slow
@given(worlds, st.sets(st.sampled_from(DISJOINT)))
def test_a_candidate_of_two_bands_is_counted_once(drawn: Any, others: set[Band]) -> None:
    world = World(*drawn)
    counted = np.zeros((QUERIES, 2), dtype=np.int64)
    for query, row in product(range(QUERIES), range(CANDIDATES)):
        if world.bands(query, row) & {"adaptive", *others} and not world.excluding(query, row):
            counted[query, 1 - int(world.same[query, row])] += 1
    found = world.band_counts().in_bands({"adaptive", *others})
    np.testing.assert_array_equal(found, counted)


@pytest.mark.slow
@given(worlds)
def test_kinds_are_those_of_the_definitions(drawn: Any) -> None:
    world = World(*drawn)
    queries, rows = np.divmod(np.arange(QUERIES * CANDIDATES), CANDIDATES)
    codes = world.borders.kinds(queries, world.distances.ravel())
    expected = [world.kind(q, r) for q, r in zip(queries.tolist(), rows.tolist(), strict=True)]
    assert [KINDS[code] for code in codes] == expected


@pytest.mark.parametrize("band", BANDS)
def test_the_margin_is_counted_only_where_a_band_ends_at_it(band: Band) -> None:
    borders = Borders.of(np.zeros(1, np.float32), plan_for(0.2, {}, band))
    assert ("margin" in borders.thresholds) == (band in ("semi-hard", "easy"))
    assert "target" in borders.thresholds


def test_a_negative_similarity_is_lowered_by_the_relative_margin() -> None:
    """sentence-transformers' rule s − r|s|: a tenth below −0.5 is −0.55, not −0.45."""
    borders = Borders.of(np.array([1.5], np.float32), plan_for(0.2, {"relative_margin": 0.1}))
    assert borders.filters["relative_margin"].distances[0] == pytest.approx(1.55)


keys = st.tuples(st.sampled_from((-np.inf, 0.0, 0.5, np.inf)), st.integers(-1, 3))


@pytest.mark.slow
@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=5))
def test_keys_are_ordered_by_distance_and_then_row(pairs: list[Any]) -> None:
    one, other = (
        Keys(
            np.array([p[side][0] for p in pairs], np.float32), np.array([p[side][1] for p in pairs])
        )
        for side in range(2)
    )
    for choose, expected in ((later, max), (earlier, min)):
        found = choose(one, other)
        assert list(zip(*(x.tolist() for x in found), strict=True)) == [expected(p) for p in pairs]


def ceilings() -> np.ndarray:
    """Of all magnitudes, of either sign, around 0 and 1, and past 1."""
    rng = np.random.default_rng(0)
    drawn = rng.uniform(-2, 2, 20_000)
    tiny = 2.0 ** rng.uniform(-149, 0, 20_000) * rng.choice([-1, 1], 20_000)
    edges = np.array([0.0, 1.0, -1.0, 0.5, 2.0, 2.0**-149, 1 - 2.0**-24, 1 + 2.0**-23])
    return np.concatenate([drawn, tiny, 1 + tiny, 1 - tiny, edges, -edges]).astype(np.float32)


def test_the_first_distance_is_the_least_that_passes() -> None:
    limits = ceilings()
    first = _first_distance(limits)
    assert first.dtype == np.float32
    before = np.nextafter(first, np.float32(-np.inf))
    assert (ONE - first <= limits).all()
    assert (ONE - before > limits).all()
