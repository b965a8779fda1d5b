"""Files for test servers, against the captions files they answer."""

import dataclasses

import pytest

from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.evaluation.submission import submission
from cir.models.combiner import SumCombiner
from tests.support.judged import evaluator_of, ranks_of
from tests.support.worlds import random_embeddings


def test_fashioniq_submission_has_the_rows_of_the_file(dataset: Dataset) -> None:
    files = submission(
        ranks_of(dataset, SumCombiner(), Protocol("test"), judged=False), "FashionIQ"
    )
    assert set(files) == {"dress.predict.json", "shirt.predict.json"}
    queries = [q for q in dataset.queries("test") if q.category == "shirt"]
    rows = files["shirt.predict.json"]
    assert [row["candidate"] for row in rows] == [q.reference_id for q in queries]
    assert [tuple(row["captions"]) for row in rows] == [q.captions for q in queries]
    assert all(
        sorted(row["ranking"]) == sorted(dataset.gallery("test", "shirt")) for row in rows
    ), "the gallery holds fewer than 50"


def test_cirr_submission_is_keyed_by_pair(cirr: Dataset) -> None:
    protocol = standard_protocol("CIRR", "test")
    files = submission(ranks_of(cirr, SumCombiner(), protocol, judged=False), "CIRR")
    whole, within = (
        files["test1_pred_ranks_recall.json"],
        files["test1_pred_ranks_recall_subset.json"],
    )
    assert (whole.pop("version"), whole.pop("metric")) == ("rc2", "recall")
    assert (within.pop("version"), within.pop("metric")) == ("rc2", "recall_subset")
    queries = cirr.queries("test")
    assert list(whole) == list(within) == [str(7 * number) for number in range(len(queries))]
    for query, first, few in zip(queries, whole.values(), within.values(), strict=True):
        assert len(set(first)) == 50
        assert query.reference_id not in first
        assert len(few) == 3
        assert set(few) <= set(query.subset_ids)


def test_a_submission_is_of_every_query(dataset: Dataset) -> None:
    made = random_embeddings(dataset)
    gone = dataset.queries("test")[0].reference_id
    made = dataclasses.replace(made, skipped={gone: "broken"})
    ranks = evaluator_of(dataset, made, Protocol("test"), judged=False).judge(made, SumCombiner())[
        0
    ]
    with pytest.raises(DatasetError, match="cannot be ranked, since embedding skipped"):
        submission(ranks, "FashionIQ")
