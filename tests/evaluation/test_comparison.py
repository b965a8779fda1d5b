"""Comparisons of two runs against the figures of each."""

import dataclasses

import numpy as np
import pytest

from cir.data.dataset import Dataset
from cir.errors import UsageError
from cir.evaluation.bootstrap import drawn_clusters
from cir.evaluation.comparison import MEAN, compare
from cir.evaluation.recall import recalls
from cir.models.combiner import ReferenceOnly, SumCombiner
from tests.support.judged import PROTOCOLS, evaluator_of, ranks_of
from tests.support.worlds import random_embeddings


def test_a_run_does_not_differ_from_itself(dataset: Dataset) -> None:
    ranks = ranks_of(dataset, SumCombiner(), PROTOCOLS[0])
    found = compare(ranks, ranks, resamples=200, seed=0)
    assert all((row.change.difference, row.change.p) == (0, 1) for row in found.rows)


def test_a_comparison_tells_the_figures_of_both(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    kept = evaluator_of(dataset, embeddings, PROTOCOLS[0])
    before, after = (
        kept.judge(embeddings, combiner)[0] for combiner in (SumCombiner(), ReferenceOnly())
    )
    found = compare(before, after, resamples=200, seed=0)
    assert found == compare(before, after, resamples=200, seed=0)
    own = {row.measure: row for row in found.rows if row.category == MEAN}
    for name, value in recalls(before, "sum").figures().items():
        assert own[name].before == pytest.approx(value)
        assert own[name].after == pytest.approx(recalls(after, "reference").figures()[name])
        assert own[name].change.low <= own[name].change.difference <= own[name].change.high


def test_only_the_same_queries_under_one_protocol_are_compared(dataset: Dataset) -> None:
    ranks = ranks_of(dataset, SumCombiner(), PROTOCOLS[0])
    other = ranks_of(dataset, SumCombiner(), PROTOCOLS[1])
    with pytest.raises(UsageError, match=r"`before` is of split val.*expected one protocol"):
        compare(ranks, other, resamples=10, seed=0)
    fewer = dataclasses.replace(ranks, categories=ranks.categories[:1])
    with pytest.raises(UsageError, match="expected the same queries in the same order"):
        compare(ranks, fewer, resamples=10, seed=0)
    with pytest.raises(UsageError, match="`resamples` is 0; expected at least 1"):
        compare(ranks, ranks, resamples=0, seed=0)


def test_the_change_is_from_before_to_after(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    kept = evaluator_of(dataset, embeddings, PROTOCOLS[0])
    before, after = (
        kept.judge(embeddings, combiner)[0] for combiner in (SumCombiner(), ReferenceOnly())
    )
    there, back = (
        compare(*pair, resamples=300, seed=0) for pair in ((before, after), (after, before))
    )
    assert any(row.change.difference for row in there.rows)
    for row, reverse in zip(there.rows, back.rows, strict=True):
        assert row.change.difference == pytest.approx(row.after - row.before)
        assert reverse.change.difference == pytest.approx(-row.change.difference)
        assert reverse.change.low == pytest.approx(-row.change.high)
    references = {(q.category, q.reference_id) for q in dataset.queries("val")}
    assert there.references == len(references)


def test_rows_agree_with_a_bootstrap_in_loops(dataset: Dataset) -> None:
    """References are drawn with all their queries; the mean is over categories of each draw."""
    embeddings, cutoff, resamples = random_embeddings(dataset), 10, 150
    kept = evaluator_of(dataset, embeddings, PROTOCOLS[0])
    before, after = (
        kept.judge(embeddings, combiner)[0] for combiner in (SumCombiner(), ReferenceOnly())
    )
    rng, by_category = np.random.default_rng(3), {}
    for first, second in zip(before.categories, after.categories, strict=True):
        moved = 100.0 * (second.ranks[0] <= cutoff) - 100.0 * (first.ranks[0] <= cutoff)
        references = sorted({query.reference_id for query in first.task.queries})
        own = {
            reference: [
                moved[row]
                for row, query in enumerate(first.task.queries)
                if query.reference_id == reference
            ]
            for reference in references
        }
        draws = drawn_clusters(len(references), resamples, rng)
        by_category[first.task.category] = [
            np.mean([value for number in draw for value in own[references[number]]])
            for draw in draws
        ]
    by_category[MEAN] = np.mean(list(by_category.values()), axis=0).tolist()
    found = compare(before, after, resamples=resamples, seed=3)
    for row in found.rows:
        if row.measure == f"R@{cutoff}":
            low, high = np.quantile(by_category[row.category], (0.025, 0.975))
            assert row.change.low == pytest.approx(low)
            assert row.change.high == pytest.approx(high)
