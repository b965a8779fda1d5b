"""What `cir evaluate` writes of a run is what a report reads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.errors import UsageError
from cir.evaluation.leaks import Leaks
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation, evaluate
from cir.evaluation.recorded import (
    evaluation_json,
    is_evaluation_of,
    is_run_evaluation,
    origin_json,
    recorded_evaluation,
)
from cir.models.combiner import build_combiner
from cir.models.composer import Composer, load_composer, untrained_composer
from tests.support.checkpoints import HIDDEN, saved
from tests.support.worlds import random_embeddings

PROTOCOLS = (Protocol("val"), Protocol("val", "val", "removed", "both-orders"))
LEAKS = Leaks(queries=20, leaked=(), by_id_alone=0, own=3)


@pytest.fixture(scope="module")
def store(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


@pytest.fixture
def composer(store: Embeddings, tmp_path: Path) -> Composer:
    combiner = build_combiner("attention-fusion", dim=16, hidden=HIDDEN)
    saved(tmp_path, combiner, store.provenance)
    return load_composer(tmp_path)


def judged(composer: Composer, dataset: Dataset, store: Embeddings) -> list[Evaluation]:
    return [
        evaluate(
            dataset.queries("val"),
            dataset.galleries("val"),
            store,
            composer.combiner,
            protocol,
            query=composer.name,
            device=torch.device("cpu"),
        )
        for protocol in PROTOCOLS
    ]


def written(
    composer: Composer, dataset: Dataset, store: Embeddings, leaks: Leaks | None = LEAKS
) -> dict[str, Any]:
    """The values of a file, as they are read again."""
    origin = origin_json(store, composer, leaks)
    values = json.dumps(evaluation_json(judged(composer, dataset, store), composer, origin))
    read: dict[str, Any] = json.loads(values)
    return read


def test_what_is_written_is_read_again(
    composer: Composer, dataset: Dataset, store: Embeddings
) -> None:
    values, first = written(composer, dataset, store), judged(composer, dataset, store)[0]
    read = recorded_evaluation(values)
    assert (read.query, read.protocol) == ("combiner", first.protocol)
    assert (read.figures, read.chance) == (first.figures(), first.chance_figures())
    assert list(read.categories) == [each.category for each in first.categories]
    assert tuple(read.notes) == first.notes()
    assert [recorded_evaluation(each).protocol for each in values["protocols"]] == list(PROTOCOLS)
    assert recorded_evaluation(values, "trained combiner").query == "trained combiner"


def test_a_file_says_whose_figures_it_holds(
    composer: Composer, dataset: Dataset, store: Embeddings
) -> None:
    values = written(composer, dataset, store)
    assert composer.checkpoint is not None
    sha256 = composer.checkpoint.sha256
    assert is_run_evaluation(values)
    assert is_evaluation_of(values, sha256, store.sha256)
    assert not is_evaluation_of(values, "d" * 64, store.sha256)
    assert not is_evaluation_of(values, sha256, "d" * 64)
    assert "text_share" not in values


def test_a_sum_is_no_run_and_says_its_share(dataset: Dataset, store: Embeddings) -> None:
    values = written(untrained_composer("weighted-sum", 0.25), dataset, store, None)
    assert not is_run_evaluation(values)
    assert (values["text_share"], values["checkpoint"]) == (0.25, None)
    assert "trained_on" not in values


def test_queries_that_training_has_seen_are_told_first(
    composer: Composer, dataset: Dataset, store: Embeddings
) -> None:
    leaks = Leaks(20, tuple(dataset.queries("val")[:7]), 0, 0)
    notes = recorded_evaluation(written(composer, dataset, store, leaks)).notes
    assert notes[0] == "Trained on 7 of the 20 judged queries."


@pytest.mark.parametrize(("gallery", "fault"), [("half", TypeError), ("all", UsageError)])
def test_rules_that_are_unknown_are_refused(
    composer: Composer, dataset: Dataset, store: Embeddings, gallery: str, fault: type[Exception]
) -> None:
    values = written(composer, dataset, store)
    values["protocol"]["gallery"] = gallery
    with pytest.raises(fault):
        recorded_evaluation(values)


def test_a_missing_value_is_refused(
    composer: Composer, dataset: Dataset, store: Embeddings
) -> None:
    values = written(composer, dataset, store)
    del values["categories"]
    with pytest.raises(KeyError, match="categories"):
        recorded_evaluation(values)


@pytest.mark.parametrize("values", [None, [1, 2], {}, {"query": "sum"}])
def test_other_values_are_no_evaluation(values: object) -> None:
    assert not is_run_evaluation(values)
