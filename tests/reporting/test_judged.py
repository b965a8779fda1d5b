"""Evaluations that lie in a run folder: whose they are, and what a reader is told of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import evaluate
from cir.models.combiner import TextOnly
from cir.reporting.judged import judged_in, judged_tables
from tests.support.worlds import random_embeddings

CPU = torch.device("cpu")
SHA256 = "c" * 64


@pytest.fixture(scope="module")
def store(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


def left_in(folder: Path, dataset: Dataset, store: Embeddings, **more: object) -> Path:
    """What `cir evaluate` writes of a run, beside files that are none of its own."""
    queries, galleries = dataset.queries("val"), dataset.galleries("val")
    judged = evaluate(
        queries, galleries, store, TextOnly(), Protocol("val"), query="combiner", device=CPU
    )
    origin = {"checkpoint": {"sha256": SHA256}, "embeddings": {"sha256": store.sha256}}
    (folder / "val.json").write_text(json.dumps(judged.to_json() | origin | more))
    (folder / "config.json").write_text("{}")
    (folder / "mine.json").write_text("[1, 2]")
    return folder


def test_figures_of_the_checkpoint_stand_beside_the_plain_sum(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    found, others = judged_in(left_in(tmp_path, dataset, store), SHA256, dataset, store, CPU)
    (pair,) = found
    assert others == []
    assert (pair.name, pair.before.query, pair.after.query) == (
        "val",
        "plain sum",
        "trained combiner",
    )
    means, by_category = judged_tables(pair)
    assert [row[0] for row in means.rows] == ["plain sum", "trained combiner", "chance"]
    assert len(by_category.rows) == 2 * len(dataset.categories)


def test_figures_of_another_checkpoint_are_named_and_left_out(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    found, others = judged_in(left_in(tmp_path, dataset, store), "d" * 64, dataset, store, CPU)
    assert found == []
    (told,) = others
    assert told.startswith("val.json is of another checkpoint or store")


def test_figures_of_another_dataset_are_named_and_left_out(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    folder = left_in(tmp_path, dataset, store)
    values = json.loads((folder / "val.json").read_text())
    values["categories"][dataset.categories[0]]["queries"] -= 1
    (folder / "val.json").write_text(json.dumps(values))
    found, others = judged_in(folder, SHA256, dataset, store, CPU)
    assert found == []
    assert others[0].startswith("val.json is of another dataset")


def test_a_file_that_cannot_be_read_is_named_and_passed_over(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    folder = left_in(tmp_path, dataset, store)
    (folder / "notes.json").write_text("{half")
    found, others = judged_in(folder, SHA256, dataset, store, CPU)
    assert len(found) == 1
    assert others == ["notes.json cannot be read, so it is passed over."]


def test_figures_that_training_had_a_part_in_say_so(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    leaks = {"queries": 20, "trained_on": 7}
    folder = left_in(tmp_path, dataset, store, trained_on=leaks)
    found, _ = judged_in(folder, SHA256, dataset, store, CPU)
    assert "Trained on 7 of the 20 judged queries" in " ".join(judged_tables(found[0])[0].notes)


@pytest.mark.parametrize("rules", [{"colour": "any"}, {"gallery": "half"}, {"gallery": "all"}])
def test_figures_under_unknown_rules_are_named_and_passed_over(
    tmp_path: Path, dataset: Dataset, store: Embeddings, rules: dict[str, str]
) -> None:
    folder = left_in(tmp_path, dataset, store)
    values = json.loads((folder / "val.json").read_text())
    values["protocol"] |= rules
    (folder / "newer.json").write_text(json.dumps(values))
    found, others = judged_in(folder, SHA256, dataset, store, CPU)
    assert [pair.name for pair in found] == ["val"]
    assert others == ["newer.json is not as this version of cir writes it, so it is passed over."]


def test_figures_of_a_split_that_is_gone_are_named_and_passed_over(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    root = Path(shutil.copytree(dataset.root, tmp_path / "dataset", symlinks=True))
    for file in (*root.glob("captions/*.val.json"), *root.glob("image_splits/*.val.json")):
        file.unlink()
    found, others = judged_in(left_in(tmp_path, dataset, store), SHA256, Dataset(root), store, CPU)
    assert found == []
    (told,) = others
    assert told.startswith("val.json is passed over, for its queries cannot be judged again: ")
    assert "has no split 'val'" in told
