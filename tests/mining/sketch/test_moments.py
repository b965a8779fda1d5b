"""Sums over components, in float64."""

import numpy as np
import pytest
from cir.mining.sketch.moments import moments_of

from tests.support.vectors import unit


@pytest.mark.parametrize("dim", [1, 7, 640])
def test_sums_are_those_of_float64(dim: int) -> None:
    vectors, rng = unit(20, dim), np.random.default_rng(0)
    mean, other = rng.standard_normal((2, dim))
    wide, found = vectors.astype(np.float64), moments_of(vectors, mean, other)
    np.testing.assert_allclose(found.along, wide @ mean, atol=1e-12)
    np.testing.assert_allclose(found.along_other, wide @ other, atol=1e-12)
    np.testing.assert_allclose(found.square, np.square(wide).sum(axis=1), atol=1e-12)
