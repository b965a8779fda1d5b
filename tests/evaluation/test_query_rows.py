"""Rows of queries against the recalls of the same ranks."""

import numpy as np
import pytest

from cir.data.dataset import Dataset
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.evaluation.query_rows import query_rows
from cir.evaluation.recall import CUTOFFS, recalls
from cir.models.combiner import SumCombiner
from tests.support.judged import PROTOCOLS, ranks_of


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
        assert retrieved[rank - 1] == rows["best_target_id"][i]
        assert rows["retrieved_distances"][i][rank - 1] == rows["target_distance"][i]
        assert rows["retrieved_distances"][i] == sorted(rows["retrieved_distances"][i])


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
    rows = query_rows(ranks_of(cirr, SumCombiner(), standard_protocol("CIRR", "val")))
    for number, query in enumerate(cirr.queries("val")):
        assert set(rows["subset_ids"][number]) == {*query.subset_ids, *query.target_ids}
        rank = rows["subset_rank"][number]
        assert rows["subset_ids"][number][rank - 1] in query.target_ids
