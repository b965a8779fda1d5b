"""Near-duplicates: exactly those of a full comparison."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.numerics.cosine import paired_cosines


def brute_force(wanted: np.ndarray, gallery: np.ndarray, threshold: float) -> set[tuple[int, int]]:
    rows, columns = np.divmod(np.arange(len(wanted) * len(gallery)), len(gallery))
    near = paired_cosines(wanted, rows, gallery, columns) >= np.float32(threshold)
    return set(zip(rows[near].tolist(), columns[near].tolist(), strict=True))


@pytest.mark.slow
@given(
    st.integers(0, 1000),
    st.sampled_from((1, 2, 5, 48, 49, 120)),
    st.integers(1, 80),
    st.sampled_from((0.3, 0.9, 0.99, 1.0)),
)
def test_none_is_missed_and_none_invented(
    seed: int, dim: int, images: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((6, dim))
    spread = rng.choice([0.0, 0.01, 0.1, 1.0])
    table = centres[rng.integers(0, 6, images)] + spread * rng.standard_normal((images, dim))
    gallery = normalised(table, "gallery")
    wanted = gallery[rng.integers(0, images, 9)]
    rows, columns = near_duplicates(wanted, gallery, threshold)
    found = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert set(found) == brute_force(wanted, gallery, threshold)


@pytest.mark.parametrize("count", [0, 1, 1024, 1025])
def test_blocks_are_joined(count: int) -> None:
    unit = normalised(np.random.default_rng(0).standard_normal((1100, 60)), "gallery")
    rows, columns = near_duplicates(unit[:count], unit, 0.999)
    assert rows.tolist() == columns.tolist() == list(range(count))


@pytest.mark.slow
@pytest.mark.parametrize(("tile_size", "block_size"), [(1, 512), (64, 7), (100, 50), (4096, 1)])
def test_pairs_are_in_order_however_the_work_is_cut(tile_size: int, block_size: int) -> None:
    rng = np.random.default_rng(1)
    gallery = normalised(rng.standard_normal((5, 20))[rng.integers(0, 5, 150)], "gallery")
    found = near_duplicates(
        gallery[:60], gallery, 0.999, tile_size=tile_size, block_size=block_size
    )
    expected = sorted(brute_force(gallery[:60], gallery, 0.999))
    assert list(zip(*(rows.tolist() for rows in found), strict=True)) == expected


@pytest.mark.slow
def test_a_tile_may_be_wider_than_its_counts_are() -> None:
    gallery = np.repeat(normalised(np.ones((1, 4)), "gallery"), 40_000, axis=0)
    rows, columns = near_duplicates(gallery[:2], gallery, 0.9, tile_size=40_000)
    assert rows.tolist() == [0] * 40_000 + [1] * 40_000
    assert columns.tolist() == [*range(40_000)] * 2
