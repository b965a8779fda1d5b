"""Samples are what chance would give: of each band, each member, each pair, each query, each draw.

One query vector is asked for thousands of times, since every query draws for itself.
"""

from collections.abc import Callable, Hashable
from itertools import combinations, pairwise, permutations, product
from typing import Any, Final

import numpy as np
import pytest

from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.types import SCOPES, Band
from tests.support.chance import DOUBT, evenly, p_value
from tests.support.vectors import on_arc

QUERIES: Final = 12_000
TARGET: Final = 0.3
MARGIN: Final = 0.2
DISTANCES: Final[dict[Band, tuple[float, ...]]] = {
    "hard": (0.05, 0.11, 0.2, 0.24, 0.29),
    "semi-hard": (0.31, 0.33, 0.34, 0.38, 0.42, 0.45, 0.49),
    "easy": (0.51, 0.52, 0.7, 0.95, 1.3, 1.9),
}
GALLERY: Final = on_arc(
    np.concatenate([DISTANCES["easy"], DISTANCES["hard"], DISTANCES["semi-hard"]])
)
"""Bands one after the other, so that a member's row says nothing of its distance."""
FIRST: Final[dict[Band, int]] = {"easy": 0, "hard": 6, "semi-hard": 11}
MEMBERS: Final = np.array([np.arange(18) % 2 == 0, np.arange(18) % 2 == 1])


def rows_of(band: Band) -> range:
    return range(FIRST[band], FIRST[band] + len(DISTANCES[band]))


def mined(
    draws: tuple[Draw, ...], num_negatives: int, queries: int = QUERIES, **others: Any
) -> Mined:
    vectors = np.repeat(on_arc(np.zeros(1)), queries, axis=0)
    targets = np.repeat(on_arc(np.array([TARGET])), queries, axis=0)
    problem = Problem(
        vectors,
        targets,
        GALLERY,
        exclusions_of([[]] * queries),
        np.zeros(queries, dtype=np.int64),
        MEMBERS,
    )
    return mine(problem, Plan(draws, num_negatives=num_negatives, margin=MARGIN, **others))


def samples(band: Band, num_negatives: int, **others: Any) -> list[tuple[int, ...]]:
    """The rows that each query got, in order of rows."""
    rows = mined((Draw("any", 1.0, band),), num_negatives, **others).rows
    return [tuple(sorted(own)) for own in rows.tolist()]


def successive(weights: dict[int, float], count: int) -> dict[Hashable, float]:
    """How likely each set is, drawn one after the other with these weights, none twice."""
    likely: dict[Hashable, float] = {}
    for order in permutations(weights, count):
        rest, probability = sum(weights.values()), 1.0
        for row in order:
            probability *= weights[row] / rest
            rest -= weights[row]
        cell = tuple(sorted(order))
        likely[cell] = likely.get(cell, 0.0) + probability
    return likely


def softmax_weights(band: Band, temperature: float) -> dict[int, float]:
    weights = np.exp(-np.array(DISTANCES[band]) / temperature).tolist()
    return dict(zip(rows_of(band), weights, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("band", DISTANCES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_subset_of_a_band_is_equally_likely(band: Band, count: int) -> None:
    """And so is every member, and every pair of members."""
    seen = samples(band, count, sampling="random", seed=count)
    assert p_value(seen, evenly(combinations(rows_of(band), count))) > DOUBT
    members = [row for own in seen for row in own]
    assert np.ptp(np.bincount(members)[FIRST[band] :]) < 12 * np.sqrt(
        len(members) / len(rows_of(band))
    )


@pytest.mark.slow
def test_a_band_of_any_candidate_is_sampled_evenly_under_top_too() -> None:
    seen = samples("any", 2, sampling="top", seed=5)
    assert p_value(seen, evenly(combinations(range(18), 2))) > DOUBT


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_uniform_whatever_the_seed(seed: int) -> None:
    seen = samples("semi-hard", 2, sampling="random", seed=1000 + seed, queries=4000)
    assert p_value(seen, evenly(combinations(rows_of("semi-hard"), 2))) > DOUBT


@pytest.mark.slow
def test_one_query_is_sampled_evenly_over_seeds() -> None:
    seen = [samples("hard", 1, sampling="random", seed=seed, queries=1)[0] for seed in range(80)]
    assert p_value(seen, evenly((row,) for row in rows_of("hard"))) > DOUBT


@pytest.mark.slow
def test_random_fills_are_uniform_among_the_rest() -> None:
    """Two are missing beside the five hard ones."""
    found = mined((Draw("any", 1.0, "hard"),), 7, fill="random")
    assert found.starved.all()
    others = [*rows_of("easy"), *rows_of("semi-hard")]
    seen = [tuple(sorted(set(own) - set(rows_of("hard")))) for own in found.rows.tolist()]
    assert p_value(seen, evenly(tuple(sorted(pair)) for pair in combinations(others, 2))) > DOUBT


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["random", "softmax"])
def test_neighbouring_queries_are_sampled_independently(sampling: str) -> None:
    weights = softmax_weights("semi-hard", 0.1)
    if sampling == "random":
        weights = dict.fromkeys(weights, 1.0)
    drawn = [own[0] for own in samples("semi-hard", 1, sampling=sampling, temperature=0.1)]
    assert p_value(zip(drawn[::2], drawn[1::2], strict=True), pairs_of(weights)) > DOUBT


def pairs_of(weights: dict[int, float]) -> dict[Hashable, float]:
    """Pairs of independent draws with these weights."""
    whole = sum(weights.values()) ** 2
    return {(a, b): weights[a] * weights[b] / whole for a, b in product(weights, repeat=2)}


@pytest.mark.slow
def test_seeds_are_sampled_independently() -> None:
    one, other = (samples("semi-hard", 1, sampling="random", seed=seed) for seed in (0, 1))
    cells = evenly(product(((row,) for row in rows_of("semi-hard")), repeat=2))
    assert p_value(zip(one, other, strict=True), cells) > DOUBT


@pytest.mark.slow
def test_draws_of_a_query_are_sampled_independently() -> None:
    """The second draw knows nothing of the first but what is taken: each other row is as likely.

    Were their chance the same, what the first left would be what it liked least.
    """
    draws = (Draw("same-category", 0.5, "semi-hard"), Draw("any", 0.5, "semi-hard"))
    found = mined(draws, 2, sampling="random")
    own = SCOPES.index("same-category")
    assert ((found.scopes == own).sum(axis=1) == 1).all()
    first, second = (found.rows[(found.scopes == own) == ours].tolist() for ours in (True, False))
    band = rows_of("semi-hard")
    cells = evenly((a, b) for a in band if MEMBERS[0, a] for b in band if b != a)
    assert p_value(zip(first, second, strict=True), cells) > DOUBT


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.02, 0.05, 0.5])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_softmax_samples_are_drawn_one_after_the_other_with_their_weights(
    temperature: float, count: int
) -> None:
    seen = samples("semi-hard", count, sampling="softmax", temperature=temperature, seed=7)
    expected = successive(softmax_weights("semi-hard", temperature), count)
    assert p_value(seen, expected) > DOUBT


def test_a_cold_softmax_takes_the_nearest() -> None:
    cold = samples("semi-hard", 3, sampling="softmax", temperature=1e-5, queries=2000)
    assert set(cold) == {(11, 12, 13)}


@pytest.mark.slow
def test_a_hot_softmax_is_uniform() -> None:
    hot = samples("semi-hard", 3, sampling="softmax", temperature=1e5)
    assert p_value(hot, evenly(combinations(rows_of("semi-hard"), 3))) > DOUBT


@pytest.mark.slow
def test_equal_candidates_share_their_chance() -> None:
    """Ties at one distance are no worse off for their row."""
    copies = on_arc(np.full(6, 0.4))
    queries = 6000
    problem = Problem(
        np.repeat(on_arc(np.zeros(1)), queries, axis=0),
        np.repeat(on_arc(np.array([TARGET])), queries, axis=0),
        copies,
        exclusions_of([[]] * queries),
    )
    for sampling in ("random", "softmax"):
        plan = Plan((Draw("any", 1.0, "semi-hard"),), 2, MARGIN, sampling=sampling)  # type: ignore[arg-type]
        seen = [tuple(own) for own in mine(problem, plan).rows.tolist()]
        assert p_value(seen, evenly(combinations(range(6), 2))) > DOUBT


@pytest.mark.parametrize(
    "skew",
    [
        lambda rows, rng: np.where(rng.random(len(rows)) < 0.03, rows[0], rows),
        lambda rows, rng: np.repeat(rows[: len(rows) // 2], 2),
    ],
    ids=["a favourite", "copied neighbours"],
)
def test_these_tests_would_notice(skew: Callable[[Any, Any], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    rows = skew(rng.integers(0, 7, QUERIES), rng).tolist()
    alone = p_value(rows, evenly(range(7)))
    together = p_value(pairwise(rows), evenly(product(range(7), repeat=2)))
    assert min(alone, together) < DOUBT


@pytest.mark.parametrize("temperature", [1e-20, 1e-300, 5e-324])
def test_rows_decide_where_the_variates_of_softmax_are_lost_in_rounding(temperature: float) -> None:
    gallery = on_arc(np.full(200, TARGET))  # the easy begin exactly as far as the target
    problem = Problem(on_arc(np.zeros(1)), gallery[:1], gallery, exclusions_of([[0]]))
    plan = Plan((Draw("any", 1.0, "easy"),), 5, MARGIN, "softmax", temperature, seed=2)
    found = mine(problem, plan)
    assert found.candidates_in_band == 199
    assert found.rows.tolist() == [[1, 2, 3, 4, 5]]
