"""Near-identical photos: who is in one group, and what finding that out takes."""

from typing import Any

import numpy as np
import pytest
from jaxtyping import UInt8

from cir.sources.catalog import thumbnails
from cir.sources.catalog.thumbnails import near_identical
from tests.support.progress import CountingProgress


def greys(count: int) -> UInt8[np.ndarray, "count 1 1 3"]:
    """Photos of one pixel, each a little lighter than the one before."""
    return np.repeat(np.arange(count, dtype=np.uint8), 3).reshape(count, 1, 1, 3)


def test_near_identical_agrees_with_a_loop_and_follows_chains() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 250, (4, 2, 2, 3)).astype(np.uint8)
    photos = np.concatenate([base, base[:2] + 2, base[:1] + 4])
    groups = near_identical(photos, threshold=2.5)
    assert groups.tolist() == [0, 1, 2, 3, 0, 1, 0]
    assert near_identical(photos, threshold=1.5).tolist() == list(range(7))


@pytest.mark.parametrize("span", [3, 1000])
def test_groups_are_those_of_the_plain_definition(
    monkeypatch: pytest.MonkeyPatch, span: int
) -> None:
    """Of photos many of which are equal or nearly so, some just beside the threshold."""
    monkeypatch.setattr("cir.sources.catalog.thumbnails._BLOCK", 7, raising=False)
    monkeypatch.setattr("cir.sources.catalog.thumbnails._SPAN", span, raising=False)
    rng = np.random.default_rng(1)
    base = rng.integers(200, 250, (9, 4, 4, 3))
    photos = (base[rng.integers(0, 9, 60)] + rng.integers(0, 3, (60, 1, 1, 1))).astype(np.uint8)
    wide = photos.reshape(60, -1).astype(np.int64)
    near = np.square(wide[:, None] - wide).sum(-1) < 2**2 * wide.shape[1]
    groups = list(range(60))
    for _ in groups:
        groups = [min(groups[other] for other in np.flatnonzero(near[row])) for row in range(60)]
    assert near_identical(photos, threshold=2).tolist() == groups


def test_many_equal_photos_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    join = thumbnails._join

    def counted(*values: Any) -> None:
        nonlocal compared
        compared += 1
        join(*values)

    monkeypatch.setattr(thumbnails, "_join", counted)
    photos = np.repeat(greys(3), 100, axis=0)
    assert near_identical(photos, threshold=1).tolist() == np.repeat([0, 100, 200], 100).tolist()
    assert compared == 3
    assert not near_identical(greys(200), threshold=300).any()
    assert compared == 203


def test_comparing_many_photos_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_MANY", 3)
    progress = CountingProgress()
    near_identical(greys(3), progress=progress)
    assert not progress.totals
    near_identical(greys(5), progress=progress)
    assert progress.totals == progress.advanced == {"comparing photos": 5}
