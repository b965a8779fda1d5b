"""Products of 16-bit integers: no sum overflows, and every edge of the blocks is written."""

import numpy as np
import pytest
import torch

from cir.mining.numerics.integer_products import COLUMNS, ROWS
from cir.mining.sketch.integers import filled, multiply, panels_of, scaling, scaling_error

STEPS = 2**15 - 2
"""Codes to 1, and a little more than no product of unit vectors exceeds."""


def codes_of(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The products that codes stand for, and how far they may be off."""
    left, right = (filled(torch.from_numpy(side)) for side in (queries, gallery))
    lengths = [
        np.linalg.norm(side.astype(np.float64), axis=1) + 1e-3 for side in (queries, gallery)
    ]
    steps = lengths[0] * lengths[1].max() / STEPS
    units = left.unit.numpy(), np.zeros(len(queries)), steps
    factors = scaling(*units, right.unit.numpy(), np.zeros(len(gallery)))
    codes = np.full((len(queries), len(gallery)), 77, np.int16)
    multiply(left.columns.numpy(), panels_of(right.columns.numpy()), factors, codes)
    rounded = np.outer(left.rounded, lengths[1]) + np.outer(lengths[0], right.rounded)
    bound = rounded + (scaling_error(lengths[0] * lengths[1].max()) + steps)[:, None]
    return codes * steps[:, None], bound


@pytest.mark.parametrize("queries", [1, ROWS - 1, ROWS, 20 * ROWS + 1])
@pytest.mark.parametrize("gallery", [1, COLUMNS, 2 * COLUMNS + 3])
@pytest.mark.parametrize("dim", [1, 2, 7, 64])
def test_every_product_is_written_within_its_bound(queries: int, gallery: int, dim: int) -> None:
    rng = np.random.default_rng(dim)
    left, right = (
        rng.standard_normal((rows, dim)).astype(np.float32) for rows in (queries, gallery)
    )
    left[0] = 0
    found, bound = codes_of(left, right)
    assert (np.abs(found - left.astype(np.float64) @ right.T) <= bound).all()


@pytest.mark.parametrize("dim", [1, 3, 640, 4095])
@pytest.mark.parametrize("shape", ["alike", "one axis", "noise"])
def test_no_sum_overflows_where_vectors_are_longest(shape: str, dim: int) -> None:
    """A vector with itself and with its opposite: the greatest sums that there are."""
    rng = np.random.default_rng(0)
    row = {"alike": np.ones(dim), "one axis": np.eye(dim)[0], "noise": rng.standard_normal(dim)}[
        shape
    ]
    unit = (row / np.linalg.norm(row)).astype(np.float32)[None]
    found, bound = codes_of(unit, np.concatenate([unit, -unit]))
    assert (np.abs(found - [1, -1]) <= bound).all()
    assert bound.max() < 2e-3
