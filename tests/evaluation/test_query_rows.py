"""Rows of queries against the recalls of the same ranks."""

import dataclasses

import numpy as np
import pytest

from cir.artefacts.vectors import VectorTable
from cir.data.captions import both_orders
from cir.data.dataset import Dataset
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.evaluation.query_rows import query_rows
from cir.evaluation.recall import CUTOFFS, recalls
from cir.models.combiner import SumCombiner
from tests.support.judged import CPU, PROTOCOLS, ranks_of
from tests.support.worlds import random_embeddings


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_rows_agree_with_recall(dataset: Dataset, protocol: Protocol) -> None:
    ranks = ranks_of(dataset, SumCombiner(), protocol)
    rows = query_rows(ranks)
    for found in recalls(ranks, "sum").categories:
        own = [i for i, name in enumerate(rows["category"]) if name == found.category]
        for cutoff in CUTOFFS:
            share = 100 * np.mean([rows["rank"][i] <= cutoff for i in own])
            assert share == pytest.approx(found.recall[cutoff], abs=1e-12)
    for i, rank in enumerate(rows["rank"]):
        retrieved = rows["retrieved_ids"][i]
        assert len(retrieved) == min(50, rows["gallery_size"][i])
        if rank <= len(retrieved):
            assert retrieved[rank - 1] == rows["best_target_id"][i]
            assert rows["retrieved_distances"][i][rank - 1] == rows["target_distance"][i]
        else:
            assert rows["best_target_id"][i] not in retrieved
            assert rows["target_distance"][i] >= rows["retrieved_distances"][i][-1]
        assert rows["retrieved_distances"][i] == sorted(rows["retrieved_distances"][i])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_rows_say_what_each_query_is(dataset: Dataset, protocol: Protocol) -> None:
    ranks = ranks_of(dataset, SumCombiner(), protocol)
    rows = query_rows(ranks)
    numbers = iter(range(len(rows["rank"])))
    for category in ranks.categories:
        for row, query in enumerate(category.task.queries):
            for order in range(len(category.texts)):
                number = next(numbers)
                assert rows["query_id"][number] == query.id
                assert rows["reference_id"][number] == query.reference_id
                assert rows["text"][number] == category.texts[order][row]
                assert rows["subset_rank"][number] is rows["subset_ids"][number] is None
                retrieved = rows["retrieved_ids"][number]
                size = len(category.task.gallery) - (query.reference_id not in retrieved)
                assert rows["gallery_size"][number] == size
    assert next(numbers, None) is None


def test_rows_of_subsets_hold_them_in_order(cirr: Dataset) -> None:
    """Each query twice, its captions in both orders: a and b, then b and a."""
    queries = [
        dataclasses.replace(query, captions=(*query.captions, f"is not {query.captions[0]}"))
        for query in cirr.queries("val")
    ]
    embeddings = random_embeddings(cirr)
    texts = sorted({text for query in queries for text in both_orders(query.captions)})
    vectors = np.random.default_rng(0).standard_normal((len(texts), 16)).astype(np.float32)
    embeddings = dataclasses.replace(embeddings, captions=VectorTable(tuple(texts), vectors))
    protocol = dataclasses.replace(standard_protocol("CIRR", "val"), captions="both-orders")
    evaluator = Evaluator(queries, cirr.galleries("val"), embeddings, [protocol], device=CPU)
    rows = query_rows(evaluator.judge(embeddings, SumCombiner(), listed=50)[0])
    assert len(rows["rank"]) == 2 * len(queries)
    for number, subset in enumerate(rows["subset_ids"]):
        query = queries[number // 2]
        assert set(subset) == {*query.subset_ids, *query.target_ids}
        assert subset[rows["subset_rank"][number] - 1] in query.target_ids
        retrieved = [i for i in rows["retrieved_ids"][number] if i in subset]
        assert retrieved == [i for i in subset if i in retrieved]
    assert rows["subset_ids"][::2] != rows["subset_ids"][1::2]
