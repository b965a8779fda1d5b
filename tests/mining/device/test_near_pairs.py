"""Near pairs found on one device, against a full comparison."""

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.mining.device.near_pairs import near_pairs
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.numerics.cosine import paired_cosines


def crowd() -> np.ndarray:
    """Clusters, in which cosines lie close about every limit, and copies."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 24))
    table = centres[rng.integers(0, 5, 200)] + 0.03 * rng.standard_normal((200, 24))
    table[50:60] = table[:10]
    return normalised(table, "gallery")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("sizes", [{}, {"tile_size": 37, "block_size": 11}])
def test_none_is_missed_and_none_invented(device: str, sizes: dict[str, int]) -> None:
    gallery = crowd()
    wanted = gallery[:60]
    rows, columns = np.divmod(np.arange(60 * 200), 200)
    cosines = paired_cosines(wanted, rows, gallery, columns)
    for limit in (np.sort(cosines)[-500], np.float32(0.99), np.float32(1.1)):
        found = near_pairs(wanted, gallery, limit, torch.device(device), **sizes)
        expected = np.flatnonzero(cosines >= limit)
        assert sorted(zip(*(each.tolist() for each in found), strict=True)) == list(
            zip(rows[expected].tolist(), columns[expected].tolist(), strict=True)
        )


@pytest.mark.gpu
def test_cuda_finds_the_pairs_of_the_cpu_in_their_order() -> None:
    gallery = crowd()
    on_gpu = near_duplicates(gallery, gallery, 0.99, device=torch.device("cuda"))
    np.testing.assert_array_equal(on_gpu, near_duplicates(gallery, gallery, 0.99))
