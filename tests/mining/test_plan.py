"""What a plan says of itself."""

from typing import Any

import numpy as np
import pytest

from cir.mining.plan import Draw, Plan, draws_of

SHARES = (
    Draw("same-category", 0.7, "semi-hard"),
    Draw("other-category", 0.2, "any"),
    Draw("any", 0.1, "any"),
)


def plan(**others: Any) -> Plan:
    return Plan(**{"draws": SHARES, "num_negatives": 5, "margin": 0.2} | others)


@pytest.mark.parametrize("num_negatives", [1, 3, 5, 7, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_rounded_shares_add_up_in_every_query_and_hold_over_all(
    num_negatives: int, seed: int
) -> None:
    quota = plan(num_negatives=num_negatives, seed=seed).quota(np.arange(2000))
    assert (quota.sum(axis=1) == num_negatives).all()
    assert (quota >= 0).all()
    expected = num_negatives * np.array([draw.share for draw in SHARES])
    assert (np.abs(quota - expected) <= 1 + 1e-9).all()
    for run in (quota, quota[:200], quota[1717:1917]):
        np.testing.assert_allclose(run.sum(axis=0), expected * len(run), atol=4)


def test_the_quota_of_a_query_hangs_on_its_number_and_the_seed() -> None:
    every = plan().quota(np.arange(100))
    np.testing.assert_array_equal(plan().quota(np.arange(30, 60)), every[30:60])
    assert (plan(seed=1).quota(np.arange(100)) != every).any()


def test_a_single_draw_gets_everything() -> None:
    single = (Draw("any", 1.0, "hard"),)
    assert (plan(draws=single, num_negatives=3).quota(np.arange(50)) == 3).all()


def test_a_draw_without_a_share_gets_nothing() -> None:
    idle = (Draw("any", 0.0, "hard"), Draw("any", 1.0, "easy"), Draw("any", 0.0, "any"))
    assert plan(draws=idle).shared == (idle[1],)
    assert plan(draws=idle).quota(np.arange(9)).tolist() == [[0, 5, 0]] * 9


@pytest.mark.parametrize(
    ("filters", "windowed"),
    [
        ({}, False),
        ({"range_min": 1}, True),
        ({"range_max": 1}, True),
        ({"relative_margin": 0.1, "max_similarity": 0.5}, False),
    ],
)
def test_ranks_matter_only_where_a_window_is_asked(filters: dict[str, Any], windowed: bool) -> None:
    assert plan(**filters).windowed is windowed


@pytest.mark.parametrize("excess", [1e-6, -1e-6, 1e-9, -1e-9])
@pytest.mark.parametrize("last", [0.0, 4e-7])
def test_quotas_add_up_where_the_shares_nearly_do(excess: float, last: float) -> None:
    """With so many negatives a millionth of them is a negative in every tenth query."""
    near = (
        Draw("same-category", 0.6, "hard"),
        Draw("other-category", 0.4 - last + 0.99 * excess, "any"),
        Draw("any", last, "any"),
    )
    asked = plan(draws=near, num_negatives=100_000)
    quota = asked.quota(np.arange(500))
    assert (quota >= 0).all()
    assert (quota.sum(axis=1) == 100_000).all()
    assert (quota[:, [draw.share > 0 for draw in near]].sum(axis=1) == 100_000).all()


def test_a_category_aware_strategy_leaves_out_the_draws_without_a_share() -> None:
    idle = (SHARES[0], Draw("other-category", 0.0, "any"), Draw("any", 0.3, "any"))
    assert draws_of("category-aware", idle) == (idle[0], idle[2])


def test_a_strategy_is_its_draws() -> None:
    assert draws_of("category-aware", SHARES) == SHARES
    assert draws_of("random", SHARES) == (Draw("any", 1.0, "any"),)
    assert draws_of("hard", SHARES) == (Draw("any", 1.0, "hard"),)
    assert draws_of("semi-hard", SHARES) == (Draw("any", 1.0, "semi-hard"),)
    assert draws_of("adaptive", SHARES) == (Draw("any", 1.0, "adaptive"),)


def test_a_plan_knows_whether_categories_matter() -> None:
    assert plan().by_category
    assert not plan(draws=(Draw("any", 1.0, "hard"),)).by_category
