"""The mixture of right and wrong pairs: against a plain search, and on pairs of known truth."""

import math

import numpy as np
import pytest

from cir.models.trust import trust

SIZE = 2000


def drawn(right: int, wrong: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Ranks of right pairs, log-normal, and behind them of wrong ones, uniform."""
    rng = np.random.default_rng(seed)
    near = np.exp(rng.normal(2, 1.4, right)).clip(1, size).astype(int)
    return np.concatenate([near, rng.integers(1, size + 1, wrong)])


def log_likelihood(ranks: np.ndarray, share: float, mean: float, deviation: float) -> float:
    """Of log r: right pairs are normal, wrong ones have the density r / N."""
    total = 0.0
    for rank in ranks.tolist():
        log = math.log(rank)
        normal = math.exp(-(((log - mean) / deviation) ** 2) / 2) / deviation / math.sqrt(math.tau)
        total += math.log(share * normal + (1 - share) * rank / SIZE)
    return total


def test_the_probabilities_are_those_of_the_likeliest_mixture() -> None:
    ranks = drawn(600, 200)
    found = trust(ranks, np.full(len(ranks), SIZE)).astype(np.float64)
    logs, share = np.log(ranks), found.mean()
    mean = np.average(logs, weights=found)
    deviation = math.sqrt(np.average((logs - mean) ** 2, weights=found))
    best = log_likelihood(ranks, share, mean, deviation)
    for moved in (
        (share + 0.02, mean, deviation),
        (share - 0.02, mean, deviation),
        (share, mean + 0.1, deviation),
        (share, mean - 0.1, deviation),
        (share, mean, deviation + 0.1),
        (share, mean, deviation - 0.1),
    ):
        assert log_likelihood(ranks, *moved) < best
    for rank, own in zip(ranks.tolist(), found.tolist(), strict=True):
        log = max(math.log(rank), mean - deviation**2)
        normal = math.exp(-(((log - mean) / deviation) ** 2) / 2) / deviation / math.sqrt(math.tau)
        wrong = (1 - share) * math.exp(log) / SIZE
        assert own == pytest.approx(share * normal / (share * normal + wrong), abs=1e-4)


@pytest.mark.parametrize("wrong", [0, 250, 1000, 4000])
def test_the_share_of_right_pairs_is_found(wrong: int) -> None:
    found = trust(drawn(1000, wrong), np.full(1000 + wrong, SIZE))
    assert found.mean() == pytest.approx(1000 / (1000 + wrong), abs=0.03)
    assert found.dtype == np.float32


def test_where_every_pair_is_right_all_are_trusted() -> None:
    found = trust(drawn(3000, 0), np.full(3000, SIZE))
    assert found.min() > 0.5
    assert found.mean() > 0.99


def test_trust_falls_as_the_rank_grows() -> None:
    ranks = drawn(1000, 300)
    found = trust(ranks, np.full(1300, SIZE))[np.argsort(ranks)]
    assert (np.diff(found) <= 0).all()
    assert found[0] > 0.95 > 0.1 > found[-1]


def test_a_rank_counts_by_the_size_of_its_category() -> None:
    """Rank 90 is nothing among 100, and good among 2000; a rank beyond the category is its last."""
    ranks = np.concatenate([[90, 90, 3000], drawn(400, 0), drawn(0, 100)])
    sizes = np.concatenate([[100, SIZE, 100], np.full(500, SIZE)])
    found = trust(ranks, sizes)
    assert found[0] < found[1] - 0.2
    assert found[2] <= found[0]


@pytest.mark.parametrize("ranks", [[1], [1, 1, 1], [50] * 4, [100], [7000, 3]])
def test_few_or_equal_ranks_give_finite_trust(ranks: list[int]) -> None:
    found = trust(np.array(ranks), np.full(len(ranks), 100))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
