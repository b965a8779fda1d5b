"""Exact distances in operations of torch, against the compiled ones."""

import numpy as np
import pytest
import torch

from cir.mining.device.cosine import paired_distances
from cir.mining.numerics.cosine import paired_distances as compiled_distances
from tests.support.vectors import unit

DIMS = (*range(1, 18), 31, 72, 640, 641, 768, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_bits_are_those_of_the_compiled_cosine(device: str) -> None:
    rng = np.random.default_rng(0)
    for dim in DIMS:
        left, right = unit(20, dim), unit(30, dim, seed=1)
        rows, columns = rng.integers(0, 20, 60), rng.integers(0, 30, 60)
        given = [torch.from_numpy(array).to(device) for array in (left, rows, right, columns)]
        expected = compiled_distances(left, rows, right, columns)
        for components in (1 << 24, 7 * dim):
            found = paired_distances(*given, components).cpu().numpy()
            assert found.tobytes() == expected.tobytes()


def test_no_pairs_have_no_distances() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert paired_distances(torch.ones(3, 2), none, torch.ones(3, 2), none).shape == (0,)
