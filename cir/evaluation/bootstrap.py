"""Whether two runs differ by more than the choice of queries: a paired cluster bootstrap.

Both runs answer the same queries, so each query contributes the difference of its two outcomes
(pairing: Koehn, "Statistical significance tests for machine translation evaluation", EMNLP 2004).
Queries that share a reference are not independent; whole references are drawn, with all their
queries, with replacement and as many as there are (Davison & Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). Each category is drawn for itself, since the mean is over
categories. The interval holds the middle 95 % of the resampled differences (Efron & Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13), and p is twice the share of them on the other
side of zero, so that p < 0.05 says that the interval leaves zero out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

CONFIDENCE: Final = 0.95
_DRAWS_AT_ONCE: Final = 500
"""Resamples drawn at once; bounds the memory."""


@dataclass(frozen=True)
class Difference:
    """How far one figure moved."""

    difference: float
    """After less before, in percentage points."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    p: float
    """Two-sided p value."""


def cluster_sums(
    differences: Float64[np.ndarray, "queries measures"], clusters: Int64[np.ndarray, " queries"]
) -> Float64[np.ndarray, "clusters measures_and_size"]:
    """The sum of each measure over each cluster, and the cluster's queries in the last column."""
    counted = np.column_stack((differences, np.ones(len(differences))))
    sums = np.zeros((int(clusters.max()) + 1, counted.shape[1]))
    np.add.at(sums, clusters, counted)
    return sums


def resampled_means(
    sums: Float64[np.ndarray, "clusters measures_and_size"],
    resamples: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, "resamples measures"]:
    """The mean of each measure over the queries of each draw of clusters.

    Args:
        sums: Those of `cluster_sums`.
        resamples: How many draws.
        rng: Draws the clusters.
    """
    totals = np.concatenate([counts @ sums for counts in _draws(len(sums), resamples, rng)])
    means: Float64[np.ndarray, "resamples measures"] = totals[:, :-1] / totals[:, -1:]
    return means


def drawn_clusters(
    clusters: int, resamples: int, rng: np.random.Generator
) -> Int64[np.ndarray, "resamples clusters"]:
    """Which clusters each resample draws."""
    return rng.integers(clusters, size=(resamples, clusters))


def summarised(observed: float, resampled: Float64[np.ndarray, " resamples"]) -> Difference:
    """The interval and the p value of one figure.

    p counts the observed data among the resamples, so that it is never 0 (Davison & Hinkley, 1997,
    equation 4.11).
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    other_side = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    p = min(1.0, float(2 * (1 + other_side) / (1 + len(resampled))))
    return Difference(float(observed), float(low), float(high), p)


def numbered(keys: Sequence[str]) -> Int64[np.ndarray, " keys"]:
    """The number of each key among the different ones."""
    return np.unique(np.array(keys), return_inverse=True)[1].astype(np.int64)


def _draws(
    clusters: int, resamples: int, rng: np.random.Generator
) -> Iterator[Float64[np.ndarray, "some clusters"]]:
    """How often each resample draws each cluster."""
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        drawn = drawn_clusters(clusters, min(_DRAWS_AT_ONCE, resamples - start), rng)
        flat = (drawn + clusters * np.arange(len(drawn))[:, None]).ravel()
        counts = np.bincount(flat, minlength=drawn.size)
        yield counts.reshape(drawn.shape).astype(np.float64)
