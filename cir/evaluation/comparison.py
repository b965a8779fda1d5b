"""Two runs under one protocol, figure by figure, with what chance alone would do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64

from cir.evaluation.bootstrap import (
    Difference,
    cluster_sums,
    numbered,
    resampled_means,
    summarised,
)
from cir.evaluation.protocol import Protocol
from cir.evaluation.ranks import CategoryRanks, Ranks
from cir.evaluation.recall import CUTOFFS, SUBSET_CUTOFFS, headline_measures

MEAN: Final = "mean"
"""The row over all categories."""


@dataclass(frozen=True)
class Compared:
    """One figure of both runs, in percent."""

    category: str
    """Or `MEAN`."""
    measure: str
    """R@1 ... headline."""
    before: float
    after: float
    change: Difference


@dataclass(frozen=True)
class Comparison:
    """Every figure of two runs."""

    protocol: Protocol
    resamples: int
    seed: int
    references: int
    """Clusters that were drawn, of all categories."""
    rows: tuple[Compared, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def compare(before: Ranks, after: Ranks, *, resamples: int, seed: int) -> Comparison:
    """How figures move from one run to another, per category and on the mean.

    Args:
        before: Of the first run.
        after: Of the second, by the same evaluator: the same queries in the same order.
        resamples: Draws of the bootstrap.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    pairs = list(zip(before.categories, after.categories, strict=True))
    outcomes = [(_outcomes(was), _outcomes(now)) for was, now in pairs]
    names = tuple(outcomes[0][0])
    clusters = [numbered([q.reference_id for q in was.task.queries]) for was, _ in pairs]
    drawn = [
        resampled_means(cluster_sums(_table(now) - _table(was), own), resamples, rng)
        for (was, now), own in zip(outcomes, clusters, strict=True)
    ]
    labels = [was.task.category for was, _ in pairs]
    figures = [tuple(_table(some).mean(axis=0) for some in own) for own in outcomes]
    parts = [*zip(labels, figures, drawn, strict=True)]
    parts.append((MEAN, _averaged(figures), np.mean(drawn, axis=0)))
    return Comparison(
        protocol=before.protocol,
        resamples=resamples,
        seed=seed,
        references=sum(int(own.max()) + 1 for own in clusters),
        rows=tuple(row for part in parts for row in _compared(names, *part)),
    )


def _outcomes(found: CategoryRanks) -> dict[str, Float64[np.ndarray, " queries"]]:
    """100 where a query is a hit, 0 where not, averaged over orders of captions, by measure."""
    hits = {f"R@{k}": _hits(found.ranks, k) for k in CUTOFFS}
    if found.subsets is not None:
        hits |= {f"Rs@{k}": _hits(found.subsets.ranks, k) for k in SUBSET_CUTOFFS}
    parts = headline_measures(tuple(hits))
    return {**hits, "headline": np.mean([hits[part] for part in parts], axis=0)}


def _hits(
    ranks: Int64[np.ndarray, "orders queries"], cutoff: int
) -> Float64[np.ndarray, " queries"]:
    hits: Float64[np.ndarray, " queries"] = 100 * (ranks <= cutoff).mean(axis=0)
    return hits


def _table(
    outcomes: Mapping[str, Float64[np.ndarray, " queries"]],
) -> Float64[np.ndarray, "queries measures"]:
    return np.column_stack(list(outcomes.values()))


def _averaged(
    figures: Sequence[tuple[Float64[np.ndarray, " measures"], ...]],
) -> tuple[Float64[np.ndarray, " measures"], ...]:
    """The figures of both runs, averaged over categories."""
    return tuple(np.mean(own, axis=0) for own in zip(*figures, strict=True))


def _compared(
    names: Sequence[str],
    category: str,
    figures: tuple[Float64[np.ndarray, " measures"], ...],
    resampled: Float64[np.ndarray, "resamples measures"],
) -> list[Compared]:
    """One row a measure."""
    before, after = (own.tolist() for own in figures)
    return [
        Compared(
            category, name, before[i], after[i], summarised(after[i] - before[i], resampled[:, i])
        )
        for i, name in enumerate(names)
    ]
