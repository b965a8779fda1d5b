"""Two runs under one protocol, figure by figure, with what chance alone would do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64

from cir.errors import UsageError
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

_Figures = tuple[Float64[np.ndarray, " measures"], Float64[np.ndarray, " measures"]]
"""Every measure of the run before and of the run after, in percent."""


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
class PairedComparison:
    """Every figure of two runs, measured on the same queries."""

    protocol: Protocol
    resamples: int
    seed: int
    references: int
    """Clusters that were drawn, of all categories."""
    rows: tuple[Compared, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def compare(before: Ranks, after: Ranks, *, resamples: int, seed: int) -> PairedComparison:
    """How figures move from one run to another, per category and on the mean.

    Args:
        before: Of the first run.
        after: Of the second, by the same evaluator: the same queries in the same order.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        UsageError: the two are not of the same protocol and queries, or `resamples` is below 1.
    """
    _require_comparable(before, after, resamples)
    rng = np.random.default_rng(seed)
    pairs = list(zip(before.categories, after.categories, strict=True))
    outcomes = [(_outcomes(first), _outcomes(second)) for first, second in pairs]
    clusters = [numbered([q.reference_id for q in first.task.queries]) for first, _ in pairs]
    differences = [
        resampled_means(cluster_sums(_table(second) - _table(first), numbers), resamples, rng)
        for (first, second), numbers in zip(outcomes, clusters, strict=True)
    ]
    figures = [
        (_table(first).mean(axis=0), _table(second).mean(axis=0)) for first, second in outcomes
    ]
    labels = [first.task.category for first, _ in pairs]
    rows = [*zip(labels, figures, differences, strict=True)]
    rows.append((MEAN, _averaged(figures), np.mean(differences, axis=0)))
    measures = tuple(outcomes[0][0])
    return PairedComparison(
        protocol=before.protocol,
        resamples=resamples,
        seed=seed,
        references=sum(int(numbers.max()) + 1 for numbers in clusters),
        rows=tuple(compared for row in rows for compared in _compared(measures, *row)),
    )


def _require_comparable(before: Ranks, after: Ranks, resamples: int) -> None:
    """Raises UsageError unless the same queries were judged by the same rules."""
    if resamples < 1:
        raise UsageError(f"`resamples` is {resamples}; expected at least 1")
    if before.protocol != after.protocol:
        raise UsageError(
            f"`before` is of {before.protocol}, `after` of {after.protocol}; expected one protocol"
        )
    first, second = (
        [query.id for category in ranks.categories for query in category.task.queries]
        for ranks in (before, after)
    )
    if first != second:
        raise UsageError(
            f"`before` is of {len(first)} queries, `after` of {len(second)}; expected the same "
            f"queries in the same order, judged by one evaluator"
        )


def _outcomes(category: CategoryRanks) -> dict[str, Float64[np.ndarray, " queries"]]:
    """100 where a query is a hit, 0 where not, averaged over orders of captions, by measure."""
    hits = {f"R@{k}": _hits(category.ranks, k) for k in CUTOFFS}
    if category.subsets is not None:
        hits |= {f"Rs@{k}": _hits(category.subsets.ranks, k) for k in SUBSET_CUTOFFS}
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


def _averaged(figures: Sequence[_Figures]) -> _Figures:
    """The figures of both runs, averaged over categories."""
    before, after = (np.mean(run, axis=0) for run in zip(*figures, strict=True))
    return before, after


def _compared(
    measures: Sequence[str],
    category: str,
    figures: _Figures,
    differences: Float64[np.ndarray, "resamples measures"],
) -> list[Compared]:
    """One row a measure."""
    before, after = (run.tolist() for run in figures)
    return [
        Compared(
            category,
            measure,
            before[column],
            after[column],
            summarised(after[column] - before[column], differences[:, column]),
        )
        for column, measure in enumerate(measures)
    ]
