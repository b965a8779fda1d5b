"""The miner on plain arrays; what a manifest holds is tested in test_offline.py."""

import numpy as np
import pytest

from cir.artefacts.vectors import normalised
from cir.errors import UsageError, VectorError
from cir.mining.engine import NONE, Draw, Mined, Plan, Problem, mine
from cir.mining.validity import exclusions_of

SHARES = (
    Draw("same-category", 0.7, "semi-hard"),
    Draw("other-category", 0.2, "any"),
    Draw("any", 0.1, "any"),
)


def unit(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((rows, dim)), "test")


def problem(queries: int = 40, gallery: int = 300) -> Problem:
    targets = np.random.default_rng(2).integers(0, gallery, queries)
    images = unit(gallery)
    return Problem(
        queries=unit(queries, seed=1),
        targets=images[targets],
        gallery=images,
        exclusions=exclusions_of([[row] for row in targets.tolist()]),
    )


def plan(band: str = "semi-hard", **others: object) -> Plan:
    draws = (Draw("any", 1.0, band),)  # type: ignore[arg-type]
    return Plan(**{"draws": draws, "num_negatives": 5, "margin": 0.2} | others)  # type: ignore[arg-type]


@pytest.mark.parametrize("num_negatives", [1, 3, 5, 7, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_rounded_shares_add_up_in_every_query_and_hold_over_all(
    num_negatives: int, seed: int
) -> None:
    quota = plan(draws=SHARES, num_negatives=num_negatives, seed=seed).quota(np.arange(2000))
    assert (quota.sum(axis=1) == num_negatives).all()
    assert (quota >= 0).all()
    expected = num_negatives * np.array([draw.share for draw in SHARES])
    assert (np.abs(quota - expected) <= 1 + 1e-9).all()
    for run in (quota, quota[:200], quota[1717:1917]):
        np.testing.assert_allclose(run.sum(axis=0), expected * len(run), atol=4)


def test_a_single_draw_gets_everything() -> None:
    assert (plan(num_negatives=3).quota(np.arange(50)) == 3).all()


def test_negatives_are_where_the_definitions_say() -> None:
    world = problem()
    mined = mine(world, plan())
    distances = 1 - world.queries @ world.gallery.T
    target = mined.target_distances[:, None]
    for row in range(len(world.queries)):
        found = mined.rows[row]
        np.testing.assert_allclose(mined.distances[row], distances[row, found], atol=1e-6)
        if not mined.starved[row]:
            assert (mined.distances[row] > target[row]).all()
            assert (mined.distances[row] < target[row] + 0.2).all()
    others = np.ones(distances.shape, dtype=np.bool_)
    others[world.exclusions.pairs(slice(0, len(others)))] = False
    nearer = ((distances < target - 1e-6) & others).sum(axis=1)
    np.testing.assert_array_equal(mined.target_ranks, 1 + nearer)


def test_a_query_without_enough_candidates_has_empty_places() -> None:
    mined = mine(problem(gallery=4), plan(num_negatives=6))
    assert (mined.counts == 3).all()
    assert (mined.rows[:, 3:] == NONE).all()
    assert mined.starved.all()


def test_no_fill_leaves_a_starved_query_short() -> None:
    mined = mine(problem(), plan("hard", margin=0.1, num_negatives=200, fill=None))
    assert mined.starved.any()
    np.testing.assert_array_equal(mined.counts, np.minimum(mined.candidates_in_band, 200))


def test_identical_images_are_taken_in_the_order_of_rows() -> None:
    images = np.repeat(unit(3, seed=5), 400, axis=0)
    query = unit(1)
    farthest = int(np.argmin(images @ query[0]))
    world = Problem(query, images[[farthest]], images, exclusions_of([[farthest]]))
    mined = mine(world, plan("hard", num_negatives=401))
    nearest = int(np.argmax(images @ query[0])) // 400 * 400
    assert mined.rows[0, :400].tolist() == list(range(nearest, nearest + 400))


def test_no_queries_give_an_empty_result() -> None:
    nothing = Problem(unit(2)[:0], unit(2)[:0], unit(3), exclusions_of([]))
    mined: Mined = mine(nothing, plan())
    assert mined.rows.shape == (0, 5)


def test_what_does_not_fit_is_refused() -> None:
    other_dim = problem()
    object.__setattr__(other_dim, "gallery", unit(300, dim=8))  # past the checks of shapes in tests
    with pytest.raises(VectorError, match=r"of \[8, 16\] dimensions"):
        mine(other_dim, plan())
    with pytest.raises(VectorError, match="2 queries have 2 targets and 1 lists of exclusions"):
        mine(Problem(unit(2), unit(2), unit(3), exclusions_of([[]])), plan())
    with pytest.raises(UsageError, match="says no categories"):
        mine(problem(), plan(draws=SHARES))
