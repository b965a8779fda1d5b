"""The similarity that decisions rest on."""

import numpy as np
import pytest

from cir.artefacts.vectors import normalised
from cir.mining.similarity import ROUNDING, paired_cosines, paired_distances, product_error


def unit(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((rows, dim)), "test")


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
