"""The miner on plain arrays; what a manifest holds is tested in test_manifest.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cir.errors import UsageError, VectorError
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.types import NO_ROW
from tests.support.plans import assert_same
from tests.support.vectors import unit

SHARES = (
    Draw("same-category", 0.7, "semi-hard"),
    Draw("other-category", 0.2, "any"),
    Draw("any", 0.1, "any"),
)


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
    others[world.exclusions.pairs()] = False
    nearer = ((distances < target - 1e-6) & others).sum(axis=1)
    np.testing.assert_array_equal(mined.target_ranks, 1 + nearer)


def test_a_gallery_of_one_gives_it_or_nothing() -> None:
    one = unit(1)
    mined = mine(Problem(unit(2, seed=1), unit(2, seed=2), one, exclusions_of([[], [0]])), plan())
    assert mined.rows.tolist() == [[0] + [NO_ROW] * 4, [NO_ROW] * 5]
    assert np.isfinite(mined.distances[0, 0])
    assert np.isnan(mined.distances[mined.rows == NO_ROW]).all()
    assert mined.starved.all()
    assert mined.target_ranks[1] == 1
    assert (mined.candidates_in_band <= [1, 0]).all()


def test_everything_is_a_number_but_the_distances_of_empty_places() -> None:
    mined = mine(problem(), plan(num_negatives=310, fill="random"))
    np.testing.assert_array_equal(np.isnan(mined.distances), mined.rows == NO_ROW)
    assert np.isfinite(mined.target_distances).all()
    assert (mined.counts == 299).all()  # all but the target


def test_filters_bind_the_fills_as_well() -> None:
    mined = mine(problem(), plan(max_similarity=0.1, num_negatives=400))
    assert (1 - mined.distances[mined.rows != NO_ROW] <= np.float32(0.1)).all()
    assert mined.excluded.max_similarity == 40 * 299 - mined.counts.sum()


def backwards(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors[::-1])[::-1]


def locked(vectors: np.ndarray) -> np.ndarray:
    copied = vectors.copy()
    copied.flags.writeable = False
    return copied


@pytest.mark.parametrize("strategy", ["semi-hard", "hard"])
def test_targets_may_be_given_each_once(strategy: str) -> None:
    usual = problem()
    targets = np.random.default_rng(2).integers(0, 300, 40)
    once = replace(usual, targets=usual.gallery, target_rows=targets)
    assert_same(mine(once, plan(strategy)), mine(usual, plan(strategy)))
    np.testing.assert_array_equal(once.targets[once.rows_of_targets], usual.targets)


@pytest.mark.slow
@pytest.mark.parametrize("laid_out", [backwards, locked, np.asfortranarray])
def test_arrays_may_lie_in_memory_as_they_like(
    laid_out: Callable[[np.ndarray], np.ndarray],
) -> None:
    usual = problem(queries=5)
    tables = {name: getattr(usual, name) for name in ("queries", "targets", "gallery")}
    other = replace(usual, **{name: laid_out(table) for name, table in tables.items()})
    np.testing.assert_array_equal(mine(other, plan()).rows, mine(usual, plan()).rows)


def test_a_query_without_enough_candidates_has_empty_places() -> None:
    mined = mine(problem(gallery=4), plan(num_negatives=6))
    assert (mined.counts == 3).all()
    assert (mined.rows[:, 3:] == NO_ROW).all()
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
    with pytest.raises(VectorError, match="the gallery holds no vectors"):
        mine(Problem(unit(1), unit(1), unit(1)[:0], exclusions_of([[]])), plan())
    with pytest.raises(UsageError, match="expected a problem with `categories` and `members`"):
        mine(problem(), plan(draws=SHARES))
    mine(problem(), plan(draws=(Draw("any", 1.0, "hard"), Draw("any", 0.0, "easy"))))
