"""Hashes and what is made of them, each against its definition in plain numbers."""

import math

import numpy as np
import pytest

from cir.mining.scan.sampling_keys import (
    greater_gumbels,
    gumbel,
    gumbel_ceiling,
    hash_keys,
    hash_of,
)
from tests.support.chance import DOUBT, evenly, p_value

WORDS = [
    *(word for power in range(33) for word in (2**power - 2, 2**power - 1, 2**power, 2**power + 1)),
    *np.random.default_rng(0).integers(0, 2**32, 5000).tolist(),
]
BOUNDS = (-1e9, -800.0, -3.2, -1.0, 0.0, 0.5, 3.0, 9.0, 20.0, 22.8, 30.0, 1e9)
EDGES_AND_MORE = [word for word in WORDS if 0 <= word < 2**32]


def mixed(word: int) -> int:
    """SplitMix64's finaliser, in whole numbers."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def murmur(word: int) -> int:
    """MurmurHash3's 32-bit finaliser, in whole numbers."""
    word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
    word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
    return word ^ word >> 16


def hashes(rows: int = 4096, *, seed: int = 0, draw_index: int = 0, number: int = 0) -> np.ndarray:
    first, second = hash_keys(seed, draw_index, np.array([number]))[0]
    return np.array([hash_of(row, first, second) for row in np.arange(rows, dtype=np.uint32)])


def test_gumbel_variates_are_those_of_the_formula() -> None:
    for word in EDGES_AND_MORE:
        uniform = (word + 0.5) / 2**32
        assert gumbel(np.uint32(word)) == pytest.approx(
            -math.log(-math.log(uniform)), rel=1e-12, abs=1e-12
        )


def test_no_gumbel_variate_passes_its_ceiling() -> None:
    slack = []
    for word in map(np.uint32, EDGES_AND_MORE):
        assert gumbel(word) <= gumbel_ceiling(word)
        slack.append(gumbel_ceiling(word) - gumbel(word))
    assert np.median(slack[-5000:]) < 1.5  # a ceiling that bars few would be of no use


def test_hashes_of_great_gumbel_variates_are_counted() -> None:
    words = np.array(sorted({*EDGES_AND_MORE, 2**32 - 1}))
    variates = np.array([gumbel(np.uint32(word)) for word in words])
    for bound in (*BOUNDS, *variates[::99]):
        greater = 2**32 - 1 - words < greater_gumbels(bound)  # the hashes that are so many greatest
        assert (variates[~greater] < bound).all()
        assert (variates[greater] > bound - 0.01).mean() > 0.99 or bound > 20
    assert greater_gumbels(-1e9) == 2**32
    assert 1 <= greater_gumbels(1e9) <= 2


def test_hashes_are_those_of_the_published_finalisers() -> None:
    rows = np.array([0, 1, 2, 37824, 2**31, 2**32 - 1, 2**40 + 5])  # of a row, 32 bits count
    for seed, draw_index, number in ((0, 0, 0), (7, 2, 11), (2**63, 9, 17999)):
        words = mixed(((mixed(mixed(seed) ^ draw_index) ^ number) + 0x9E3779B97F4A7C15) % 2**64)
        first, second = words >> 32, words % 2**32
        keys = hash_keys(seed, draw_index, np.array([number]))
        assert keys.tolist() == [[first, second]]
        assert [hash_of(word, *keys[0]) for word in rows.astype(np.uint32)] == [
            murmur(murmur(row % 2**32 ^ first) ^ second) for row in rows.tolist()
        ]


@pytest.mark.slow
def test_rows_of_a_query_are_never_tied() -> None:
    assert len(np.unique(hashes(200_000))) == 200_000


def test_hashes_hang_on_everything_that_they_should() -> None:
    others = (
        hashes(),
        hashes(seed=1),
        hashes(draw_index=1),
        hashes(number=1),
        hashes(seed=2**40),
        hashes(seed=1, draw_index=1),
    )
    for place, one in enumerate(others):
        for other in others[:place]:
            assert (one == other).mean() < 0.01


def test_a_query_has_the_same_hashes_in_any_company() -> None:
    together = hash_keys(3, 1, np.arange(100))
    assert (together[40:60] == hash_keys(3, 1, np.arange(40, 60))).all()
    assert len(np.unique(together, axis=0)) == 100


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0, 12, 24])
def test_bytes_of_hashes_are_uniform(shift: int) -> None:
    seen = (hashes(2**18) >> shift) & 255
    assert p_value(seen.tolist(), evenly(range(256))) > DOUBT


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["number", "draw_index", "seed"])
def test_hashes_of_different_draws_are_independent(changed: str) -> None:
    one, other = (hashes(2**17, **{changed: value}) >> 28 for value in (4, 5))  # type: ignore[arg-type]
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    cells = evenly((a, b) for a in range(16) for b in range(16))
    assert p_value(pairs, cells) > DOUBT


def test_queries_see_a_row_independently() -> None:
    keys, row = hash_keys(0, 0, np.arange(40_000)), np.uint32(0)
    seen = [hash_of(row, *own) >> 28 for own in keys]
    assert p_value(seen, evenly(range(16))) > DOUBT
    neighbours = zip(seen[::2], seen[1::2], strict=True)
    assert p_value(neighbours, evenly((a, b) for a in range(16) for b in range(16))) > DOUBT
