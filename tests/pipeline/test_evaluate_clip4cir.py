"""`cir evaluate --clip4cir-combiner`: a published Combiner judged on a store."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vectors import normalised
from cir.config import TINY, EvaluateConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.encoding.loading import load_encoder
from cir.errors import CheckpointError, ConfigError, StoreError, WeightsError
from cir.models.combiner import build_combiner
from pipeline.command.flags import spelled
from pipeline.evaluate import run
from tests.support.checkpoints import HIDDEN, saved
from tests.support.clip4cir import DIM, combined, publish, published_state
from tests.support.digests import sha256_of
from tests.support.worlds import random_embeddings, write_store


@pytest.fixture(scope="module")
def store(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = random_embeddings(dataset, dim=DIM)
    return write_store(made, tmp_path_factory.mktemp("store") / "embeddings.h5")


@pytest.fixture
def combiner(tmp_path: Path) -> Path:
    return publish(tmp_path / "combiner.pt")


def config(dataset: Dataset, store: Path, **changes: Any) -> EvaluateConfig:
    return EvaluateConfig(dataset=dataset.root, embeddings=store, device="cpu", **changes)


def recall_at_10(dataset: Dataset, embeddings: Embeddings, category: str) -> float:
    """By the published arithmetic, one query at a time."""
    gallery = dataset.gallery("val", category)
    photos = normalised(embeddings.images.take(gallery), "gallery")
    hits = []
    for query in (q for q in dataset.queries("val") if q.category == category):
        image = embeddings.images.take([query.reference_id])
        text = embeddings.captions.take([joined(query.captions)])
        scores = photos @ combined(published_state(), image, text)[0]
        nearest = [gallery[row] for row in np.argsort(-scores)[:10]]
        hits.append(bool(set(nearest) & set(query.target_ids)))
    return 100 * float(np.mean(hits))


def test_its_recall_is_that_of_the_published_arithmetic(
    dataset: Dataset, store: Path, combiner: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    assert run(config(dataset, store, clip4cir_combiner=combiner, json=out)) == out
    found, embeddings = json.loads(out.read_text()), read_embeddings(store)
    for category, figures in found["categories"].items():
        expected = recall_at_10(dataset, embeddings, category)
        assert figures["recall"]["R@10"] == pytest.approx(expected)
    assert found["checkpoint"] == {
        "combiner": "clip4cir",
        "path": str(combiner),
        "sha256": sha256_of(combiner),
        "epoch": 57,
    }


def test_without_weights_it_says_what_the_figures_rest_on(
    dataset: Dataset, store: Path, combiner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config(dataset, store, clip4cir_combiner=combiner))
    printed = " ".join(capsys.readouterr().out.split())
    assert "combiner.pt: the file does not tell its CLIP" in printed
    assert "which --weights FILE checks" in printed
    assert "combiner.pt (epoch 57)" in printed
    assert "targetpad" not in printed


def test_another_preprocessing_is_told(
    dataset: Dataset, store: Path, combiner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = read_embeddings(store)
    padded = dataclasses.replace(made.provenance, preprocess="squarepad")
    other = write_store(dataclasses.replace(made, provenance=padded), combiner.with_name("s.h5"))
    run(config(dataset, other, clip4cir_combiner=combiner))
    printed = " ".join(capsys.readouterr().out.split())
    assert "of targetpad photos, the store's are of squarepad" in printed


def test_a_run_is_compared_with_it(
    dataset: Dataset, store: Path, combiner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN)
    folder = saved(combiner.with_name("run"), own, read_embeddings(store).provenance)
    out = combiner.with_name("moved.json")
    asked = {"clip4cir_combiner": combiner, "run": folder, "compare": True, "resamples": 100}
    run(config(dataset, store, json=out, **asked))
    printed = "".join(capsys.readouterr().out.split())
    assert f"from{combiner}(epoch57)to{folder}(epoch3)" in printed
    found = json.loads(out.read_text())
    assert found["before"]["checkpoint"]["sha256"] == sha256_of(combiner)
    assert found["after"]["checkpoint"]["path"] == str(folder)


def test_a_file_that_is_no_combiner_ends_the_command(
    dataset: Dataset, store: Path, combiner: Path
) -> None:
    combiner.write_bytes(combiner.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is damaged"):
        run(config(dataset, store, clip4cir_combiner=combiner))
    wide = publish(combiner, published_state(dim=640))
    with pytest.raises(StoreError, match="combines 640-d vectors") as refused:
        run(config(dataset, store, clip4cir_combiner=wide))
    told = spelled(str(refused.value), EvaluateConfig)
    assert "cir embed --model RN50x4, and --weights FILE" in told


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights": Path("w.pt")}, "`weights` says which CLIP `clip4cir_combiner` was"),
        (
            {"clip4cir_combiner": Path("c.pt"), "query": "sum"},
            "`clip4cir_combiner` composes the query; leave out `query='sum'`",
        ),
        (
            {"clip4cir_combiner": Path("c.pt"), "run": Path("a")},
            "`clip4cir_combiner` is a baseline: it takes a run folder only with `compare`",
        ),
        (
            {"clip4cir_combiner": Path("c.pt"), "run": Path("a"), "other": Path("b")},
            "take no `clip4cir_combiner`",
        ),
    ],
)
def test_options_at_odds_are_told(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        EvaluateConfig(**options)


@pytest.mark.slow
def test_the_clip_it_was_trained_over_is_checked(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With files as CLIP4Cir writes both: the CLIP under CLIP, the Combiner under Combiner."""
    device, files = torch.device("cpu"), [tmp_path / "clip.pt", tmp_path / "other.pt"]
    bundled = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=device
    )
    for number, file in enumerate(files):
        state = {name: value + number for name, value in bundled.clip.state_dict().items()}
        torch.save({"epoch": 9, "CLIP": state}, file)
    encoder = load_encoder(
        TINY, pretrained=None, weights=files[0], preprocess="targetpad", device=device
    )
    made = dataclasses.replace(
        random_embeddings(dataset, dim=encoder.dim), provenance=encoder.provenance
    )
    store = write_store(made, tmp_path / "clip.h5")
    combiner = publish(tmp_path / "combiner.pt", published_state(dim=encoder.dim))
    renamed = files[0].rename(tmp_path / "renamed.pt")
    run(config(dataset, store, clip4cir_combiner=combiner, weights=renamed))
    assert "does not tell its CLIP" not in capsys.readouterr().out
    with pytest.raises(StoreError, match="not with those of") as refused:
        run(config(dataset, store, clip4cir_combiner=combiner, weights=files[1]))
    told = spelled(str(refused.value), EvaluateConfig)
    assert f"make a store with cir embed --model {TINY} --weights {files[1]}" in told
    with pytest.raises(WeightsError, match=r"combiner\.pt is damaged or no weight file"):
        run(config(dataset, store, clip4cir_combiner=combiner, weights=combiner))
