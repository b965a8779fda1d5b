"""Drawn examples against the ranks that they are drawn from."""

from cir.data.dataset import Dataset
from cir.evaluation.protocol import Protocol
from cir.models.combiner import SumCombiner, TextOnly
from cir.reporting.examples import DRAWN, SHOWN_IMAGES, draw_examples
from tests.support.judged import evaluator_of
from tests.support.worlds import random_embeddings


def test_examples_are_counted_and_told_truly(dataset: Dataset) -> None:
    queries, embeddings = dataset.queries("val"), random_embeddings(dataset)
    evaluator = evaluator_of(dataset, embeddings, Protocol("val"))
    before, after = (
        evaluator.judge(embeddings, combiner, listed=SHOWN_IMAGES)[0]
        for combiner in (SumCombiner(), TextOnly())
    )
    found = draw_examples(before, after, seed=0)
    assert sum(found.counts.values()) == len(queries)
    for outcome, wanted in DRAWN.items():
        shown = [e for e in found.shown if e.outcome == outcome]
        assert len(shown) == min(wanted, found.counts[outcome])
    for example in found.shown:
        was, now = (
            bool(set(example.query.target_ids) & set(ranking.first))
            for ranking in (example.before, example.after)
        )
        told = {"gained": (False, True), "kept": (True, True)}
        told |= {"lost": (True, False), "missed": (False, False)}
        assert (was, now) == told[example.outcome]
        assert was == (example.before.rank <= 5)
