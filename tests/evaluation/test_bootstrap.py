"""The paired cluster bootstrap against a loop, and against what is known of the data."""

import numpy as np
import pytest

from cir.evaluation.bootstrap import (
    cluster_sums,
    drawn_clusters,
    numbered,
    resampled_means,
    summarised,
)


def test_agrees_with_a_loop_over_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    differences, clusters = rng.normal(size=(40, 3)), rng.permutation(np.arange(40) % 11)
    found = resampled_means(cluster_sums(differences, clusters), 30, np.random.default_rng(5))
    for draw, mean in zip(drawn_clusters(11, 30, np.random.default_rng(5)), found, strict=True):
        rows = [row for cluster in draw for row in np.flatnonzero(clusters == cluster)]
        assert mean == pytest.approx(differences[rows].mean(axis=0))


def test_many_resamples_are_drawn_in_parts() -> None:
    sums = cluster_sums(np.ones((6, 1)), np.arange(6))
    found = resampled_means(sums, 1203, np.random.default_rng(0))
    assert found.shape == (1203, 1)
    assert np.allclose(found, 1)


def test_no_difference_has_p_one() -> None:
    sums = cluster_sums(np.zeros((9, 1)), np.arange(9) // 2)
    found = summarised(0.0, resampled_means(sums, 200, np.random.default_rng(0))[:, 0])
    assert (found.low, found.high, found.p) == (0, 0, 1)


def test_a_shift_is_found_with_the_width_of_theory() -> None:
    rng = np.random.default_rng(1)
    differences = 0.5 + rng.normal(size=(400, 1))
    sums = cluster_sums(differences, np.arange(400) // 2)
    found = summarised(float(differences.mean()), resampled_means(sums, 1000, rng)[:, 0])
    assert found.low > 0
    assert found.p == pytest.approx(2 / 1001)
    error = (sums[:, 0] / 2).std() / np.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.slow
def test_the_interval_covers_the_truth_although_queries_share_references() -> None:
    """Four queries a reference that go the same way: treating them as independent fails."""
    rng, clusters = np.random.default_rng(2), np.arange(160) // 4
    covered = {"clusters": 0, "queries": 0}
    for _ in range(200):
        differences = (rng.normal(size=40)[clusters] + 0.3 * rng.normal(size=160))[:, None]
        for name, own in (("clusters", clusters), ("queries", np.arange(160))):
            drawn = resampled_means(cluster_sums(differences, own), 200, rng)[:, 0]
            found = summarised(float(differences.mean()), drawn)
            covered[name] += found.low <= 0 <= found.high
    assert covered["clusters"] >= 178, "of 200, 190 expected"
    assert covered["queries"] < 165


def test_keys_are_numbered() -> None:
    assert numbered(["b", "a", "b", "c"]).tolist() == [1, 0, 1, 2]
