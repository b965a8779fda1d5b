"""Bands: exact whatever the rounding of the product they were found with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.mining.bands import Bands, Borders, find_bands
from cir.mining.similarity import paired_distances, product_error

QUERIES, GALLERY = 7, 200


def bands_of(seed: int, dim: int, margin: float, noise: float) -> Bands:
    """Bands found from a product that is off by up to `noise` of what is allowed."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(-1, 2, (QUERIES + GALLERY, dim)).astype(np.float32)
    whole[~whole.any(axis=1)] = 1
    unit = normalised(whole, "test")
    queries, gallery = unit[:QUERIES], unit[QUERIES:]
    every = np.arange(QUERIES)
    target = paired_distances(queries, every, gallery, rng.integers(0, GALLERY, QUERIES))
    wrong = np.random.default_rng(int(noise * 100)).uniform(-1, 1, (QUERIES, GALLERY))
    rounded = queries @ gallery.T + noise * wrong * product_error(dim)
    excluded = (np.repeat(every, 2), rng.integers(0, GALLERY, 2 * QUERIES))
    return find_bands(
        rounded.astype(np.float32), queries, gallery, excluded, Borders.around(target, margin)
    )


@given(st.integers(0, 1000), st.integers(2, 9), st.sampled_from((0.0, 0.1, 0.2, 1.0)))
def test_the_rounding_of_the_product_decides_nothing(seed: int, dim: int, margin: float) -> None:
    exact, *others = (bands_of(seed, dim, margin, noise) for noise in (0.0, 0.5, 0.9))
    for other in others:
        np.testing.assert_array_equal(exact.hard, other.hard)
        np.testing.assert_array_equal(exact.semi_hard, other.semi_hard)
        np.testing.assert_array_equal(exact.valid, other.valid)


def test_kinds_part_the_valid_candidates() -> None:
    bands = bands_of(0, 5, 0.2, 0.0)
    together = [bands.of(kind).astype(int) for kind in ("hard", "semi-hard", "easy")]
    np.testing.assert_array_equal(sum(together), bands.of("any").astype(int))
    assert bands.valid.sum() < QUERIES * GALLERY


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0])
def test_borders_belong_to_no_band(margin: float) -> None:
    """Distances 0, 0.5, 1, 1.5, 2 exactly, with the target at 0.5."""
    gallery = np.array([[1, 0], [0.5, 0], [0, 1], [-0.5, 0], [-1, 0]], np.float32)
    query, nobody = np.array([[1, 0]], np.float32), np.zeros(0, np.int64)
    borders = Borders.around(np.array([0.5], np.float32), margin)
    bands = find_bands(query @ gallery.T, query, gallery, (nobody, nobody), borders)
    assert np.flatnonzero(bands.hard).tolist() == [0]
    assert np.flatnonzero(bands.semi_hard).tolist() == {0.0: [], 0.5: [], 1.0: [2]}[margin]
    codes = borders.kinds(np.zeros(5, np.int64), np.arange(5, dtype=np.float32) / 2)
    assert (
        codes.tolist() == {0.0: [0, 2, 2, 2, 2], 0.5: [0, 2, 2, 2, 2], 1.0: [0, 2, 1, 2, 2]}[margin]
    )
