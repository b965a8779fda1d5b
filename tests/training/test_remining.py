"""What each epoch trains on: a curriculum, and exclusions that follow the vectors."""

from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import Embeddings
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.errors import ConfigError
from cir.models.trust import trust
from cir.training import remining
from cir.training.train import train
from tests.support.mined import random_manifest
from tests.support.runs import fusion_config, fusion_metrics
from tests.support.worlds import random_embeddings


@pytest.fixture(scope="module")
def embeddings(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


def strategies(out: Path) -> list[str]:
    return [read_manifest(file).metadata.strategy for file in sorted((out / "manifests").iterdir())]


@pytest.mark.slow
def test_a_curriculum_chooses_the_strategy_of_every_epoch(tmp_path, dataset, embeddings):
    spelled = "random:1,hard:1,semi-hard"
    fusion_metrics(tmp_path / "run", dataset, embeddings, curriculum=spelled, epochs=3)
    assert strategies(tmp_path / "run") == ["random", "hard", "semi-hard", "semi-hard"]
    for file in (tmp_path / "run/manifests").iterdir():
        metadata = read_manifest(file).metadata
        assert metadata.curriculum == spelled
        assert metadata.options["strategy"] == metadata.strategy
        assert metadata.query == "combiner"


@pytest.mark.slow
def test_a_stage_is_mined_once_where_nothing_is_mined_again(tmp_path, dataset, embeddings):
    out = tmp_path / "run"
    fusion_metrics(out, dataset, embeddings, curriculum="semi-hard:1,hard", remine=False)
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
    settings = {"curriculum": spelled, "remine": False, "epochs": 3}
    fusion_metrics(tmp_path / "whole", dataset, embeddings, **settings)
    out = tmp_path / "resumed"

    class Killed(BaseException):
        pass

    def kill(line):
        if line["epoch"] == 1:
            raise Killed

    manifest = random_manifest(dataset, embeddings)
    with pytest.raises(Killed):
        train(fusion_config(out, **settings), dataset, embeddings, manifest, on_epoch=kill)
    train(fusion_config(out, resume=True, **settings), dataset, embeddings, manifest)
    assert strategies(out) == strategies(tmp_path / "whole") == ["random", "hard", "semi-hard"]
    last = [
        read_checkpoint(folder / "checkpoints/last").sha256 for folder in (out, tmp_path / "whole")
    ]
    assert last[0] == last[1]


def weighted(
    monkeypatch: pytest.MonkeyPatch,
    out: Path,
    dataset: Dataset,
    embeddings: Embeddings,
    **what: float,
) -> list[dict]:
    """Trains where the pairs at even places of a manifest are trusted so much, others so much."""

    def given(ranks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        even = np.arange(len(ranks)) % 2 == 0
        return np.where(even, what["even"], what["odd"]).astype(np.float32)

    with monkeypatch.context() as patched:
        patched.setattr(remining, "trust", given)
        return fusion_metrics(out, dataset, embeddings, weighting="trust")


@pytest.mark.slow
def test_the_pairs_of_every_manifest_of_the_model_are_weighed(
    tmp_path, dataset, embeddings, monkeypatch
):
    plain = fusion_metrics(tmp_path / "plain", dataset, embeddings)
    alike, unlike = (
        weighted(monkeypatch, tmp_path / f"odd-{odd}", dataset, embeddings, even=0.5, odd=odd)
        for odd in (0.5, 0.125)
    )
    losses = [[line["loss"] for line in lines[1:]] for lines in (plain, alike, unlike)]
    assert losses[1] == losses[0]
    assert losses[2][0] == losses[0][0]
    assert losses[2][1] != pytest.approx(losses[0][1], rel=1e-3)


@pytest.mark.slow
def test_trust_is_of_the_ranks_that_were_mined(tmp_path, dataset, embeddings):
    lines = fusion_metrics(tmp_path / "run", dataset, embeddings, weighting="trust")
    assert "trust" not in lines[0]["manifest"]
    sizes = {category: len(ids) for category, ids in dataset.galleries("train").items()}
    for line in lines[1:]:
        mined = read_manifest(tmp_path / f"run/manifests/epoch-{line['epoch']:03d}.parquet")
        of_queries = np.array([sizes[category] for category in mined.categories])
        expected = trust(mined.target_ranks, of_queries).mean(dtype=np.float64)
        assert line["manifest"]["trust"] == pytest.approx(float(expected))


@pytest.mark.parametrize("without", [{"remine": False}, {"online_top_k": 3}])
def test_trust_needs_ranks_that_are_mined_again(without):
    with pytest.raises(ConfigError, match="`weighting='trust'` goes by mining again"):
        TrainConfig(weighting="trust", **without)
    TrainConfig(weighting="trust")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"weighting": "hardness", "loss": "triplet"}, "is of the contrastive term, which `loss`"),
        ({"hardness": 1.0}, "`hardness` is of `weighting='hardness'`; it is 'none'"),
        ({"weighting": "hardness", "hardness": 0}, "`hardness` is 0; expected more than 0"),
    ],
)
def test_hardness_without_effect_is_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        TrainConfig(**options)
