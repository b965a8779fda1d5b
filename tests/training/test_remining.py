"""What each epoch trains on: a curriculum, and exclusions that follow the vectors."""

import json
from pathlib import Path

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import Embeddings
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.training.train import train
from tests.support.mined import random_manifest
from tests.support.runs import SETTINGS
from tests.support.worlds import random_embeddings


@pytest.fixture(scope="module")
def embeddings(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


def config_of(out: Path, **changes: object) -> TrainConfig:
    named = {"combiner": "attention-fusion", "contrast": "batch", "other_targets": "ignored"}
    return TrainConfig(**SETTINGS | named | {"out": out} | changes)


def run(out: Path, dataset: Dataset, embeddings: Embeddings, **changes: object) -> list[dict]:
    """Trains; the lines of metrics.jsonl."""
    manifest = random_manifest(dataset, embeddings)
    train(config_of(out, **changes), dataset, embeddings, manifest)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def strategies(out: Path) -> list[str]:
    return [read_manifest(file).metadata.strategy for file in sorted((out / "manifests").iterdir())]


@pytest.mark.slow
def test_a_curriculum_chooses_the_strategy_of_every_epoch(tmp_path, dataset, embeddings):
    spelled = "random:1,hard:1,semi-hard"
    run(tmp_path / "run", dataset, embeddings, curriculum=spelled)
    assert strategies(tmp_path / "run") == ["random", "hard", "semi-hard", "semi-hard"]
    for file in (tmp_path / "run/manifests").iterdir():
        metadata = read_manifest(file).metadata
        assert metadata.curriculum == spelled
        assert metadata.options["strategy"] == metadata.strategy
        assert metadata.query == "combiner"


def test_a_stage_is_mined_once_where_nothing_is_mined_again(tmp_path, dataset, embeddings):
    out = tmp_path / "run"
    run(out, dataset, embeddings, curriculum="semi-hard:1,hard", remine=False)
    first = random_manifest(dataset, embeddings).metadata.strategy
    assert strategies(out) == ["semi-hard", "hard"]
    assert first == "semi-hard"
    assert sorted(file.name for file in (out / "manifests").iterdir()) == [
        "epoch-000.parquet",
        "epoch-001.parquet",
    ]


@pytest.mark.slow
def test_a_curriculum_goes_on_where_it_was(tmp_path, dataset, embeddings):
    spelled = "random:1,hard:1,semi-hard"
    run(tmp_path / "whole", dataset, embeddings, curriculum=spelled, remine=False)
    out = tmp_path / "resumed"

    class Killed(BaseException):
        pass

    def kill(line):
        if line["epoch"] == 1:
            raise Killed

    settings = {"curriculum": spelled, "remine": False}
    manifest = random_manifest(dataset, embeddings)
    with pytest.raises(Killed):
        train(config_of(out, **settings), dataset, embeddings, manifest, on_epoch=kill)
    train(config_of(out, resume=True, **settings), dataset, embeddings, manifest)
    assert strategies(out) == strategies(tmp_path / "whole") == ["random", "hard", "semi-hard"]
    last = [
        read_checkpoint(folder / "checkpoints/last").sha256 for folder in (out, tmp_path / "whole")
    ]
    assert last[0] == last[1]
