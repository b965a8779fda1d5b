"""Many protocols at once against one at a time, listings against ranks, files against ranks."""

import dataclasses
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from cir.artefacts.store import Embeddings
from cir.config import CaptionRule, GalleryName, ReferenceRule
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.evaluation.comparison import MEAN, compare
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.evaluation.query_rows import query_rows
from cir.evaluation.ranks import Ranks
from cir.evaluation.recall import CUTOFFS, evaluate, recalls
from cir.evaluation.submission import submission
from cir.models.combiner import ReferenceOnly, SumCombiner
from tests.support.cirr import cirr_dataset
from tests.support.worlds import random_embeddings

CPU = torch.device("cpu")
PROTOCOLS = [
    Protocol("val", gallery, reference, captions)
    for gallery, reference, captions in product(
        get_args(GalleryName), get_args(ReferenceRule), get_args(CaptionRule)
    )
]


@pytest.fixture(scope="module")
def cirr(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return cirr_dataset(tmp_path_factory.mktemp("cirr") / "data")


def evaluator(made: Dataset, embeddings: Embeddings, *protocols: Protocol, **rules) -> Evaluator:
    split = protocols[0].split
    galleries = made.galleries(split)
    return Evaluator(made.queries(split), galleries, embeddings, protocols, device=CPU, **rules)


def judged(made: Dataset, combiner, protocol: Protocol, **rules) -> Ranks:
    embeddings = random_embeddings(made)
    return evaluator(made, embeddings, protocol, **rules).judge(embeddings, combiner, listed=50)[0]


@pytest.mark.parametrize("form", ["FashionIQ", "CIRR"])
def test_protocols_together_are_the_protocols_alone(dataset, cirr, form: str) -> None:
    made = cirr if form == "CIRR" else dataset
    embeddings = random_embeddings(made)
    together = evaluator(made, embeddings, *PROTOCOLS).judge(embeddings, SumCombiner())
    for protocol, ranks in zip(PROTOCOLS, together, strict=True):
        alone = evaluate(
            made.queries("val"),
            made.galleries("val"),
            embeddings,
            SumCombiner(),
            protocol,
            query="sum",
            device=CPU,
        )
        assert recalls(ranks, "sum") == alone


def test_other_vectors_are_looked_up_again(dataset: Dataset) -> None:
    one, other = random_embeddings(dataset), random_embeddings(dataset, seed=1)
    kept = evaluator(dataset, one, PROTOCOLS[0])
    figures = [
        recalls(kept.judge(vectors, SumCombiner())[0], "sum") for vectors in (one, other, one)
    ]
    assert figures[0] == figures[2]
    assert figures[0] != figures[1]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_rows_agree_with_recall(dataset: Dataset, protocol: Protocol) -> None:
    ranks = judged(dataset, SumCombiner(), protocol)
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


def test_subset_recall_is_that_of_a_loop(cirr: Dataset) -> None:
    """CIRR's: only the subset without its reference, whatever stands before in the gallery."""
    embeddings = random_embeddings(cirr)
    ranks = judged(cirr, ReferenceOnly(), standard_protocol("CIRR", "val"))
    image = dict(zip(embeddings.images.keys, embeddings.images.vectors, strict=True))
    expected = []
    for query in cirr.queries("val"):
        own = image[query.reference_id]
        order = sorted(query.subset_ids, key=lambda i: -(image[i] @ own) / np.linalg.norm(image[i]))
        expected.append(order.index(query.target_id) + 1)
    found = recalls(ranks, "reference")
    assert ranks.categories[0].subsets is not None
    assert ranks.categories[0].subsets.ranks[0].tolist() == expected
    assert found.subset_mean[1] == pytest.approx(100 * np.mean(np.array(expected) <= 1))
    assert found.headline == pytest.approx((found.mean[5] + found.subset_mean[1]) / 2)
    assert found.chance_figures()["Rs@2"] == pytest.approx(40)


def test_fashioniq_submission_has_the_rows_of_the_file(dataset: Dataset) -> None:
    files = submission(judged(dataset, SumCombiner(), Protocol("test"), judged=False), "FashionIQ")
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
    files = submission(judged(cirr, SumCombiner(), protocol, judged=False), "CIRR")
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
    ranks = evaluator(dataset, made, Protocol("test"), judged=False).judge(made, SumCombiner())[0]
    with pytest.raises(DatasetError, match="cannot be ranked, since embedding skipped"):
        submission(ranks, "FashionIQ")


def test_a_run_does_not_differ_from_itself(dataset: Dataset) -> None:
    ranks = judged(dataset, SumCombiner(), PROTOCOLS[0])
    found = compare(ranks, ranks, resamples=200, seed=0)
    assert all((row.change.difference, row.change.p) == (0, 1) for row in found.rows)


def test_a_comparison_tells_the_figures_of_both(dataset: Dataset) -> None:
    embeddings = random_embeddings(dataset)
    kept = evaluator(dataset, embeddings, PROTOCOLS[0])
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
