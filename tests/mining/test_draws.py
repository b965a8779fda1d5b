"""Drawing from bands: the nearest, and uniform samples."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.mining.draws import Dice, Drawn, draw_nearest, draw_uniformly
from cir.mining.similarity import paired_distances

THROWS = 20_000


def shares(drawn: Drawn, wanted: int) -> dict[tuple[int, ...], float]:
    """How often each set of rows was drawn."""
    sets = np.sort(drawn.rows.reshape(-1, wanted), axis=1)
    kinds, counts = np.unique(sets, axis=0, return_counts=True)
    return {tuple(kind): count / len(sets) for kind, count in zip(kinds, counts, strict=True)}


@pytest.mark.parametrize("gallery", [8, 40, 900, 20_000])
@pytest.mark.parametrize("wanted", [1, 2])
def test_every_set_of_the_band_is_equally_likely(gallery: int, wanted: int) -> None:
    """From bands that attempts find easily to those that they hardly ever meet.

    With n throws, a share p has the standard deviation sqrt(p (1 - p) / n); five of them is passed
    by chance once in a million.
    """
    throws = THROWS if gallery < 1000 else 1000
    members = np.array([0, 3, 4, 7])
    band = np.zeros((throws, gallery), dtype=np.bool_)
    band[:, members] = True
    drawn = draw_uniformly(band, np.full(throws, wanted), np.arange(throws), Dice(seed=5, throw=0))
    expected = list(combinations(members.tolist(), wanted))
    found = shares(drawn, wanted)
    assert set(found) == set(expected)
    share = 1 / len(expected)
    tolerance = 5 * np.sqrt(share * (1 - share) / throws)
    assert all(abs(its - share) < tolerance for its in found.values())


def test_a_large_band_is_sampled_evenly() -> None:
    band = np.ones((4000, 500), dtype=np.bool_)
    band[:, ::2] = False
    drawn = draw_uniformly(band, np.full(4000, 5), np.arange(4000), Dice(seed=0, throw=1))
    counts = np.bincount(drawn.rows, minlength=500)[1::2]
    assert counts.sum() == 20_000
    chi_square = ((counts - 80) ** 2 / 80).sum()
    assert 150 < chi_square < 370  # 249 degrees of freedom: mean 249, deviation 22


def test_dice_differ_by_seed_throw_and_query() -> None:
    numbers = np.arange(3)
    rows = [Dice(*own).rows(numbers, 10_000) for own in ((0, 0), (0, 1), (1, 0), (2**62, 5))]
    flat = {row.tobytes() for block in rows for row in block}
    assert len(flat) == 12
    np.testing.assert_array_equal(Dice(0, 1).rows(numbers[2:], 10_000)[0], rows[1][2])


@given(st.integers(0, 300), st.integers(1, 90), st.integers(0, 30))
def test_a_sample_has_different_members_and_all_of_a_small_band(
    seed: int, gallery: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    band = rng.random((6, gallery)) < rng.random()
    wanted = rng.integers(0, most + 1, 6)
    drawn = draw_uniformly(band, wanted, np.arange(6), Dice(seed, 0))
    assert band[drawn.queries, drawn.rows].all()
    assert len(set(zip(drawn.queries.tolist(), drawn.rows.tolist(), strict=True))) == len(
        drawn.rows
    )
    np.testing.assert_array_equal(drawn.counts(6), np.minimum(wanted, band.sum(axis=1)))
    assert (np.diff(drawn.queries) >= 0).all()


@given(st.integers(0, 300), st.integers(1, 400), st.integers(1, 40), st.booleans())
def test_the_nearest_are_those_of_a_sort(seed: int, gallery: int, most: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    table = (
        rng.integers(-1, 2, (gallery + 4, 3)) if whole else rng.standard_normal((gallery + 4, 3))
    )
    table[~table.any(axis=1)] = 1
    unit = normalised(table.astype(np.float32), "test")
    queries, images = unit[:4], unit[4:]
    band = rng.random((4, gallery)) < rng.random()
    wanted = rng.integers(0, most + 1, 4)
    error = 1e-3
    rows, columns = np.divmod(np.arange(4 * gallery), gallery)
    exactly = paired_distances(queries, rows, images, columns).reshape(4, gallery)
    nearly = (exactly + rng.uniform(-error, error, exactly.shape)).astype(np.float32)
    drawn = draw_nearest(band, wanted, nearly, error * 1.01, queries, images)
    for query in range(4):
        members = np.flatnonzero(band[query])
        order = np.lexsort((members, exactly[query, members]))
        expected = members[order][: wanted[query]]
        np.testing.assert_array_equal(drawn.rows[drawn.queries == query], expected)
