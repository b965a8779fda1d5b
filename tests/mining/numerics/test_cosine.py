"""The similarity that decisions rest on."""

import numpy as np
import pytest

from cir.artefacts.vectors import normalised
from cir.mining.numerics.cosine import (
    ROUNDING,
    nearly_cosine,
    paired_cosines,
    paired_distances,
    product_error,
    write_nearly_cosines,
)
from tests.support.oracle import cosines
from tests.support.vectors import unit


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 16, 640])
def test_cosines_are_those_of_float64(dim: int) -> None:
    left, right = unit(40, dim), unit(30, dim, seed=1)
    rows, columns = np.divmod(np.arange(40 * 30), 30)
    expected = (left.astype(np.float64) @ right.T.astype(np.float64)).ravel()
    found = paired_cosines(left, rows, right, columns)
    assert np.abs(found - expected).max() <= 13 * ROUNDING
    np.testing.assert_array_equal(
        paired_distances(left, rows, right, columns), np.float32(1) - found
    )


@pytest.mark.slow
def test_a_pair_is_the_same_bits_in_any_company() -> None:
    left, right = unit(5000, 33), unit(5000, 33, seed=1)
    rows = np.arange(5000)
    together = paired_cosines(left, rows, right, rows)
    alone = [paired_cosines(left, rows[i : i + 1], right, rows[i : i + 1])[0] for i in range(5000)]
    np.testing.assert_array_equal(together, np.array(alone))
    np.testing.assert_array_equal(paired_cosines(right, rows, left, rows), together)


def test_sums_are_by_halving() -> None:
    big, one = np.float32(2**24), np.float32(1)
    left = np.array([[big, one, -big, one, one]], np.float32)
    row = np.zeros(1, np.int64)
    # (big + 1) + 1 with 1 + 1 rounds otherwise than the sum from the left: h = 3, then 2, then 1.
    expected = ((big + one) + -big) + (one + one)
    assert paired_cosines(left, row, np.ones_like(left), row)[0] == expected


@pytest.mark.parametrize("dim", [1, 2, 31, 640])
def test_no_product_passes_the_stated_error(dim: int) -> None:
    left, right = unit(300, dim), unit(400, dim, seed=1)
    rows, columns = np.divmod(np.arange(300 * 400), 400)
    exactly = paired_distances(left, rows, right, columns).reshape(300, 400)
    assert np.abs((1 - left @ right.T) - exactly).max() < product_error(dim)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [range(1, 71), range(639, 642)], ids=["small", "large"])
def test_cosines_are_the_bits_of_the_definition(dims: range) -> None:
    for dim in dims:
        left, right = unit(7, dim, seed=dim), unit(9, dim, seed=dim + 1)
        rows, columns = np.divmod(np.arange(7 * 9), 9)
        expected = np.concatenate([cosines(one, right) for one in left])
        found = paired_cosines(left, rows, right, columns)
        assert found.tobytes() == expected.tobytes(), dim


@pytest.mark.parametrize("dim", [1, 2, 31, 64, 640, 2049])
@pytest.mark.parametrize("signs", ["any", "one"])
def test_the_quick_cosine_is_within_the_stated_error(dim: int, signs: str) -> None:
    left, right = unit(60, dim), unit(60, dim, seed=1)
    if signs == "one":  # sums that only grow, whose roundings are the worst
        left, right = (normalised(np.abs(side) + 0.3, "test") for side in (left, right))
    every = np.arange(60)
    exactly = paired_cosines(left, every, right, every)
    quickly = [nearly_cosine(*pair) for pair in zip(left, right, strict=True)]
    assert np.abs(quickly - exactly).max() <= product_error(dim)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_listed_rows_are_compared_two_at_a_time_or_alone(count: int) -> None:
    left, right = unit(1, 37)[0], unit(9, 37, seed=1)
    rows, cosines = np.array([7, 2, 4, 0, 8, 3]), np.full(9, 5, np.float32)
    write_nearly_cosines(left, right, rows, count, cosines)
    listed = np.isin(np.arange(9), rows[:count])
    np.testing.assert_allclose(cosines[listed], right[listed] @ left, atol=1e-6)
    assert (cosines[~listed] == 5).all()
