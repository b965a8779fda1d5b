"""The mine stage: the manifest it writes, what it prints, and what it refuses."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cir.artefacts.checkpoint import (
    read_checkpoint,
)
from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import Embeddings, read_embeddings, write_embeddings
from cir.artefacts.vectors import Table
from cir.config import MineConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.encoding.weights import weights_sha256
from cir.errors import CheckpointError, DatasetError, ManifestError, StoreError, UsageError
from cir.models.combiner import build_combiner
from cir.models.composition import baseline, composed_queries
from cir.types import Strategy
from pipeline.mine import run
from tests.checkpoints import HIDDEN, saved
from tests.oracle import check_manifest
from tests.worlds import random_embeddings

DIM = 16
CPU = torch.device("cpu")


def written(made: Embeddings) -> Path:
    write_embeddings(
        made.path,
        images=made.images,
        captions=made.captions,
        image_sha256=made.image_sha256,
        provenance=made.provenance,
        skipped=made.skipped,
    )
    return made.path


@pytest.fixture
def embeddings(dataset: Dataset, tmp_path: Path) -> Embeddings:
    return random_embeddings(dataset, dim=DIM, path=tmp_path / "embeddings.h5")


@pytest.fixture
def config(dataset: Dataset, embeddings: Embeddings, tmp_path: Path) -> dict[str, Any]:
    return {
        "dataset": dataset.root,
        "embeddings": written(embeddings),
        "out": tmp_path / "manifest.parquet",
        "margin": 0.5,
        "device": "cpu",
    }


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_the_written_manifest_agrees_with_the_oracle(
    strategy: Any, config: dict[str, Any], dataset: Dataset
) -> None:
    asked = MineConfig(**config, strategy=strategy, query="reference")
    mined = read_manifest(run(asked))
    store, queries = read_embeddings(asked.embeddings), dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, store, baseline("reference"), CPU)
    check_manifest(mined, queries, store, dataset.galleries("train"), vectors, asked.options())
    metadata = mined.metadata
    assert (metadata.query, metadata.split, metadata.epoch) == ("reference", "train", 0)
    assert (metadata.embeddings_sha256, metadata.checkpoint_sha256) == (store.sha256, None)


def test_pandas_reads_it_with_no_help(config: dict[str, Any]) -> None:
    frame = pd.read_parquet(run(MineConfig(**config)))
    assert len(frame) == 32
    assert set(frame.negative_kinds.explode()) <= {"hard", "semi-hard", "easy"}


def test_the_summary_says_what_was_mined(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(MineConfig(**config, strategy="category-aware"))
    printed = capsys.readouterr().out
    for words in (
        *("distance to target", "distance to negatives", "rank of target", "50 %"),
        *("same-category", "other-category", "semi-hard", "starved", "dropped", "duplicates"),
    ):
        assert words in printed


def test_skipped_images_are_counted(
    config: dict[str, Any],
    embeddings: Embeddings,
    dataset: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queries = dataset.queries("train")
    lost = queries[0].target_id
    keys = tuple(key for key in embeddings.images.keys if key != lost)
    partial = dataclasses.replace(
        embeddings,
        images=Table(keys, embeddings.images.take(keys)),
        image_sha256=embeddings.image_sha256[1:],
        skipped={lost: "truncated"},
    )
    written(partial)
    mined = read_manifest(run(MineConfig(**config)))
    needed = sum(lost in (query.reference_id, query.target_id) for query in queries)
    assert mined.metadata.counts.dropped == needed >= 1
    assert lost not in mined.negative_ids
    assert "1 images are left out of the gallery" in capsys.readouterr().out


def test_a_combiner_mines_for_its_own_encoder_alone(
    config: dict[str, Any], embeddings: Embeddings, dataset: Dataset, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    combiner = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN)
    folder = saved(tmp_path / "own", combiner, embeddings.provenance)
    asked = MineConfig(**config, query="combiner", checkpoint=folder)
    mined = read_manifest(run(asked))
    assert mined.metadata.checkpoint_sha256 == read_checkpoint(folder).sha256
    queries = dataset.queries("train")
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, embeddings, combiner, CPU)
    galleries = dataset.galleries("train")
    check_manifest(mined, queries, embeddings, galleries, vectors, asked.options())
    other = dataclasses.replace(embeddings.provenance, weights_sha256="1" * 64)
    saved(folder, combiner, other)
    with pytest.raises(CheckpointError, match="come from different encoders: weights_sha256"):
        run(dataclasses.replace(asked, overwrite=True))


def test_a_tuned_combiner_asks_for_vectors_of_the_tuned_encoder(
    config: dict[str, Any], embeddings: Embeddings, tmp_path: Path
) -> None:
    combiner, clip = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN), nn.Linear(3, 2)
    folder = saved(tmp_path / "tuned", combiner, embeddings.provenance, clip=clip)
    asked = MineConfig(**config, query="combiner", checkpoint=folder)
    with pytest.raises(CheckpointError, match=f"embed again with .* --weights {folder}"):
        run(asked)
    tuned = dataclasses.replace(
        embeddings.provenance,
        pretrained="clip.safetensors",
        weights_sha256=weights_sha256(clip.state_dict()),
    )
    written(dataclasses.replace(embeddings, provenance=tuned))
    assert len(read_manifest(run(asked))) == 32


@pytest.mark.parametrize(
    ("changes", "error", "line"),
    [
        ({"split": "test"}, UsageError, "has no target: pass the train or val split"),
        ({"on_starved": "fail", "num_negatives": 500}, ManifestError, "32 of 32 queries are star"),
        ({"on_starved": "drop", "margin": 0.0}, ManifestError, "no query of .* has a negative: 32"),
        ({"embeddings": Path("nowhere.h5")}, StoreError, "no embedding store at nowhere.h5"),
        ({"dataset": Path("nowhere")}, DatasetError, "no dataset folder at nowhere"),
    ],
)
def test_a_fault_is_one_line_and_leaves_no_file(
    config: dict[str, Any], changes: dict[str, Any], error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=line) as caught:
        run(MineConfig(**config | changes))
    assert "\n" not in str(caught.value)
    assert not config["out"].exists()


def test_a_manifest_that_exists_is_replaced_only_on_demand(config: dict[str, Any]) -> None:
    first = run(MineConfig(**config)).read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        run(MineConfig(**config, strategy="random"))
    assert config["out"].read_bytes() == first
    run(MineConfig(**config, overwrite=True))
    assert config["out"].read_bytes() == first
    run(MineConfig(**config, strategy="random", overwrite=True))
    assert config["out"].read_bytes() != first


def test_vectors_are_compared_by_direction(config: dict[str, Any], embeddings: Embeddings) -> None:
    first = read_manifest(run(MineConfig(**config)))
    longer = Table(embeddings.images.keys, embeddings.images.vectors * np.float32(4))
    written(dataclasses.replace(embeddings, images=longer))
    again = read_manifest(run(MineConfig(**config, overwrite=True)))
    assert again.negative_ids == first.negative_ids
    np.testing.assert_array_equal(again.negative_distances, first.negative_distances)
