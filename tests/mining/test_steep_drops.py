"""The two steepest drops against a plain loop, and what mining between them gives."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.config import MiningOptions
from cir.errors import ConfigError, UsageError
from cir.mining import mine_negatives
from cir.mining.bands import keys_at
from cir.mining.steep_drops import between_steepest_drops
from cir.types import NO_ROW

BEYOND = np.float32(-1)


def plain(distances: list[np.float32]) -> list[int]:
    """The places, from 0 on, of the candidates in the band."""
    if len(distances) < 3:
        return list(range(len(distances)))
    drops = [after - before for before, after in pairwise(distances)]
    first = max(range(len(drops)), key=lambda k: (drops[k], -k))
    rest = [k for k in range(len(drops)) if k != first]
    second = max(rest, key=lambda k: (drops[k], -k))
    low, high = sorted((first, second))
    return list(range(low + 1, high + 1))


steps = st.lists(st.integers(0, 6), max_size=9)


@pytest.mark.slow
@given(st.lists(steps, min_size=1, max_size=5), st.integers(0, 3))
def test_the_band_is_what_a_loop_finds(of_queries: list[list[int]], spare: int) -> None:
    window = max(map(len, of_queries)) + spare
    distances = np.full((len(of_queries), window), np.nan, np.float32)
    rows = np.full((len(of_queries), window), NO_ROW)
    for query, own in enumerate(of_queries):
        distances[query, : len(own)] = np.cumsum(own) / np.float32(16)
        rows[query, : len(own)] = np.arange(len(own)) + 10
    beyond = keys_at(np.full(len(rows), BEYOND))
    low, high = between_steepest_drops(distances, rows, beyond)
    for query, own in enumerate(of_queries):
        keys = [(distances[query, k], rows[query, k]) for k in range(len(own))]
        start, end = ((keys_.distances[query], keys_.rows[query]) for keys_ in (low, high))
        inside = [place for place, key in enumerate(keys) if start <= key < end]
        assert inside == plain([distance for distance, _ in keys])


def at_distances(*distances: float) -> np.ndarray:
    angles = np.arccos(1 - np.array(distances))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize(
    ("window", "expected"),
    [(100, [5, 6, 7]), (6, [5, 6]), (4, [4]), (3, [3])],
    ids=["all", "six", "four", "three"],
)
def test_drops_are_sought_among_the_nearest_behind_the_target(
    window: int, expected: list[int]
) -> None:
    """Steps 0.01, 0.03, 0.16, 0.02, 0.04 and 0.39, and one nearer than the target."""
    corpus = at_distances(0.3, 0.1, 0.31, 0.32, 0.35, 0.51, 0.53, 0.57, 0.96, 0.97)
    mined = mine_negatives(
        [[1.0, 0.0]],
        [0],
        corpus,
        strategy="adaptive",
        num_negatives=9,
        drop_window=window,
        duplicate_threshold=1.01,
    )
    assert [row for row in mined.rows[0].tolist() if row != NO_ROW] == expected
    assert mined.candidates_in_band.tolist() == [len(expected)]
    assert mined.starved.all()


def test_fewer_than_three_candidates_are_all_in_the_band() -> None:
    corpus = at_distances(0.3, 0.1, 0.5, 0.9)
    mined = mine_negatives([[1.0, 0.0]], [0], corpus, strategy="adaptive", num_negatives=3)
    assert mined.rows.tolist() == [[2, 3, NO_ROW]]


@pytest.mark.parametrize("window", [2, 0, -1])
def test_a_window_without_two_drops_is_refused(window: Any) -> None:
    with pytest.raises(UsageError, match="`drop_window` is"):
        mine_negatives([[1.0]], [0], [[1.0]], num_negatives=1, drop_window=window)
    with pytest.raises(ConfigError, match=f"`drop_window` is {window}; expected at least 3"):
        MiningOptions(drop_window=window)
