"""`cir evaluate` refuses queries that the run was trained on, unless told to mark the figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cir.artefacts.store import read_embeddings
from cir.artefacts.trained import write_trained
from cir.config import EvaluateConfig
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.models.combiner import SumCombiner
from cir.names import TRAINED_FILE
from pipeline.evaluate import run
from tests.support.checkpoints import saved
from tests.support.worlds import random_embeddings, small_dataset, write_store


@pytest.fixture(scope="module")
def store(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "embeddings.h5"
    return write_store(random_embeddings(dataset), path)


@pytest.fixture(scope="module")
def trained(dataset: Dataset, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the dataset's training split."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    embeddings = read_embeddings(store)
    saved(folder / "checkpoints/best", SumCombiner(), embeddings.provenance, name="sum")
    queries = {"train": dataset.queries("train"), "held-out": dataset.queries("val")}
    write_trained(folder / TRAINED_FILE, queries, embeddings, {})
    return folder


def config(dataset: Path, store: Path, run: Path, **changes: Any) -> EvaluateConfig:
    return EvaluateConfig(dataset=dataset, embeddings=store, run=run, device="cpu", **changes)


def test_a_run_is_judged_by_its_own_held_out_split(
    dataset: Dataset, store: Path, trained: Path, tmp_path: Path
) -> None:
    run(config(dataset.root, store, trained, json=tmp_path / "a.json"))
    found = json.loads((tmp_path / "a.json").read_text())["trained_on"]
    assert (found["trained_on"], found["shared_by_own_splits"]) == (0, 0)


def test_a_checkpoint_named_from_inside_its_run_is_no_less_refused(
    dataset: Dataset, store: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(trained / "checkpoints/best")
    monkeypatch.chdir(trained / "checkpoints")
    for named in (Path("best"), tmp_path / "linked"):
        with pytest.raises(DatasetError, match="was trained or chosen on the reference"):
            run(config(dataset.root, store, named, split="train"))


def test_its_training_split_is_refused_and_marked_where_allowed(
    dataset: Dataset,
    store: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = len(dataset.queries("train"))
    with pytest.raises(DatasetError, match=rf"of {count} of the {count} queries of split train"):
        run(config(dataset.root, store, trained, split="train"))
    asked = {"split": "train", "allow_trained": True, "json": tmp_path / "a.json"}
    run(config(dataset.root, store, trained, **asked))
    assert f"TRAINED ON {count} of {count} queries" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "a.json").read_text())["trained_on"]["trained_on"] == count


def test_a_dataset_that_was_split_anew_is_refused(
    dataset: Dataset, store: Path, trained: Path, tmp_path: Path
) -> None:
    """What adding ten rows to a catalogue did: its training photos became photos of val."""
    anew = tmp_path / "anew"
    (anew / "captions").mkdir(parents=True)
    (anew / "image_splits").mkdir()
    for kind, prefix in (("captions", "cap"), ("image_splits", "split")):
        for category in dataset.categories:
            moved = dataset.root / kind / f"{prefix}.{category}.train.json"
            (anew / kind / f"{prefix}.{category}.val.json").write_bytes(moved.read_bytes())
    with pytest.raises(DatasetError, match=r"split val in .*anew.*`allow_trained=True`"):
        run(config(anew, store, trained))
    with pytest.raises(DatasetError, match="was trained or chosen on"):
        run(config(anew, store, trained, query="sum", compare=True))


def test_the_same_bytes_under_other_ids_are_found_and_other_bytes_said(
    dataset: Dataset, trained: Path, tmp_path: Path
) -> None:
    other = small_dataset(tmp_path / "other", categories=("hat",))
    embeddings = random_embeddings(other)
    strange = [f"{number:064x}" for number in range(10**6, 10**6 + len(embeddings.image_sha256))]
    apart = dataclasses.replace(embeddings, image_sha256=tuple(strange))
    path = write_store(apart, tmp_path / "apart.h5")
    run(config(other.root, path, trained))
    known = random_embeddings(dataset)
    seen = dataset.queries("train")[0].target_id
    strange[0] = known.image_sha256[known.images.keys.index(seen)]
    val = other.queries("val")[0].target_id
    at = embeddings.images.keys.index(val)
    strange[0], strange[at] = strange[at], strange[0]
    path = write_store(dataclasses.replace(apart, image_sha256=tuple(strange)), tmp_path / "b.h5")
    with pytest.raises(DatasetError, match=r"of \d of the 16 queries of split val"):
        run(config(other.root, path, trained))


def test_a_run_of_an_earlier_version_says_that_nothing_is_checked(
    dataset: Dataset, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = read_embeddings(store).provenance
    saved(tmp_path / "checkpoints/best", SumCombiner(), provenance, name="sum")
    run(config(dataset.root, store, tmp_path, split="train"))
    assert "is not checked" in " ".join(capsys.readouterr().out.split())
