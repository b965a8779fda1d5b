"""Encoders found again by what a store or a checkpoint says of them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.encoding.origin import (
    encoder_of_checkpoint,
    encoder_of_store,
    require_embedded_with,
)
from cir.errors import CheckpointError, StoreError
from cir.models.combiner import SumCombiner
from tests.support.checkpoints import saved
from tests.support.judged import CPU
from tests.support.micro import micro_encoder
from tests.support.worlds import random_embeddings

ENCODER = micro_encoder()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `load_encoder` was asked for; it gives the same encoder whatever that is."""
    arguments: dict[str, Any] = {}

    def load(model: str, **options: Any) -> Any:
        arguments.update(options, model=model)
        return ENCODER

    monkeypatch.setattr("cir.encoding.loading.load_encoder", load)
    return arguments


@pytest.fixture
def store(dataset: Dataset) -> Embeddings:
    made = random_embeddings(dataset, dim=ENCODER.dim)
    return dataclasses.replace(made, provenance=ENCODER.provenance)


def test_a_stores_encoder_is_asked_for_by_its_provenance(store, asked) -> None:
    file = Path("weights.pt")
    found = encoder_of_store(store, weights=file, device=CPU, precision="bf16")
    assert found is ENCODER
    origin = store.provenance
    expected = {"model": origin.model, "pretrained": origin.pretrained, "weights": file}
    expected |= {"preprocess": origin.preprocess, "device": CPU, "precision": "bf16"}
    assert asked == expected


def test_weights_that_are_not_the_stores_are_refused(store, asked) -> None:
    other = dataclasses.replace(store.provenance, weights_sha256="f" * 64)
    with pytest.raises(StoreError, match=r"ffffffffffff…\), which is not .* `weights`"):
        encoder_of_store(dataclasses.replace(store, provenance=other), weights=None, device=CPU)


def test_a_stores_encoder_is_found_under_another_file_name(store, asked) -> None:
    moved = dataclasses.replace(store.provenance, pretrained="moved.pt")
    moved_store = dataclasses.replace(store, provenance=moved)
    found = encoder_of_store(moved_store, weights=Path("weights.pt"), device=CPU)
    assert found.provenance == moved
    assert found.clip is ENCODER.clip
    assert ENCODER.provenance != moved


def test_a_checkpoints_encoder_has_the_name_that_its_run_gave_it(tmp_path, asked) -> None:
    moved = dataclasses.replace(ENCODER.provenance, pretrained="moved.pt")
    folder = saved(tmp_path / "best", SumCombiner(), moved, name="sum")
    found = encoder_of_checkpoint(read_checkpoint(folder), weights=Path("w.pt"), device=CPU)
    assert found.provenance == moved


def test_a_store_is_known_by_its_weights_whatever_their_files_name(store, asked) -> None:
    named = dataclasses.replace(store.provenance, pretrained="another.pt")
    file = Path("weights.pt")
    require_embedded_with(dataclasses.replace(store, provenance=named), file, CPU)
    assert (asked["model"], asked["weights"]) == (store.provenance.model, file)
    other = dataclasses.replace(store.provenance, weights_sha256="f" * 64)
    with pytest.raises(StoreError, match=r"weights ffffffffffff… .* not with those of weights\.pt"):
        require_embedded_with(dataclasses.replace(store, provenance=other), file, CPU)


def test_weights_that_are_not_the_checkpoints_are_refused(tmp_path, asked) -> None:
    other = dataclasses.replace(ENCODER.provenance, weights_sha256="f" * 64)
    folder = saved(tmp_path / "best", SumCombiner(), other, name="sum")
    with pytest.raises(CheckpointError, match=r"with weights ffffffffffff…, and w\.pt are"):
        encoder_of_checkpoint(read_checkpoint(folder), weights=Path("w.pt"), device=CPU)


def test_a_tuned_encoder_is_taken_from_its_checkpoint(tmp_path, asked) -> None:
    folder = saved(
        tmp_path / "best", SumCombiner(), ENCODER.provenance, name="sum", clip=ENCODER.clip
    )
    found = encoder_of_checkpoint(read_checkpoint(folder), weights=Path("w.pt"), device=CPU)
    assert found is ENCODER
    assert asked["weights"] == folder
