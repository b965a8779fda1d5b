"""CLIP4Cir's published Combiner, read and held against its arithmetic."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.errors import CheckpointError, StoreError
from cir.models.clip4cir_checkpoint import load_clip4cir_combiner
from cir.models.composition import compose
from tests.support.clip4cir import DIM, HIDDEN, PROJECTION, combined, publish, published_state
from tests.support.digests import sha256_of
from tests.support.worlds import random_embeddings


@pytest.fixture(scope="module")
def store(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset, dim=DIM)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("length", [0.1, 1.0, 30.0])
def test_composes_by_the_published_arithmetic(store, tmp_path, bare, length):
    """On features as they come: their length tells, as it does not with our own combiners."""
    state = published_state()
    file = publish(tmp_path / "combiner.pt", state)
    if bare:
        torch.save(state, file)
    rng = np.random.default_rng(1)
    image, text = (length * rng.normal(size=(2, 9, DIM))).astype(np.float32)
    found = compose(load_clip4cir_combiner(file, store).combiner, image, text, device="cpu")
    np.testing.assert_allclose(found, combined(state, image, text), atol=2e-6)
    shorter = combined(state, image / 2, text / 2)
    assert np.abs(found - shorter).max() > 1e-3


def test_says_where_it_comes_from(store, tmp_path):
    file = publish(tmp_path / "combiner.pt", epoch=12)
    composer = load_clip4cir_combiner(file, store)
    assert str(composer) == f"{file} (epoch 12)"
    assert composer.published.sha256 == sha256_of(file)
    assert composer.checkpoint is None
    assert (composer.combiner.projection, composer.combiner.hidden) == (PROJECTION, HIDDEN)
    assert not composer.combiner.training
    torch.save(published_state(), file)
    assert str(load_clip4cir_combiner(file, store)) == str(file)


def test_half_precision_is_read_as_float32(store, tmp_path):
    state = {name: value.half() for name, value in published_state().items()}
    composer = load_clip4cir_combiner(publish(tmp_path / "half.pt", state), store)
    parameters = dict(composer.combiner.named_parameters())
    assert {value.dtype for value in parameters.values()} == {torch.float32}
    assert torch.equal(parameters["output.weight"], state["output_layer.weight"].float())


def changed(**values: Any) -> dict[str, Any]:
    """The published weights with some of them others; without those that are None."""
    state = published_state() | {name.replace("__", "."): v for name, v in values.items()}
    return {"Combiner": {name: value for name, value in state.items() if value is not None}}


WRONG = {
    "no dict": ([1, 2], "holds a list; expected CLIP4Cir's Combiner"),
    "CLIP": ({"epoch": 1, "CLIP": {"a": torch.ones(1)}}, "no Combiner: pass it as `weights`"),
    "no state": ({"epoch": 1, "Combiner": 3}, "holds 3 as Combiner"),
    "empty": ({}, "lacks text_projection_layer.weight, and is no Combiner"),
    "a layer less": (changed(output_layer__bias=None), "lacks output_layer.bias"),
    "a layer more": (changed(output_layer__scale=torch.ones(1)), "holds output_layer.scale"),
    "no tensor": (changed(combiner_layer__bias=3), "lacks combiner_layer.bias"),
    "whole numbers": (
        changed(combiner_layer__bias=torch.ones(HIDDEN, dtype=torch.int64)),
        "combiner_layer.bias of torch.int64; expected floating point",
    ),
    "no matrix": (
        changed(text_projection_layer__weight=torch.ones(4)),
        r"text_projection_layer.weight of shape \(4,\); expected a matrix",
    ),
    "no rows": (
        changed(combiner_layer__weight=torch.ones(0, 2 * PROJECTION)),
        r"combiner_layer.weight of shape \(0, 10\); expected a matrix",
    ),
    "another width": (
        changed(dynamic_scalar__0__weight=torch.ones(HIDDEN, 9)),
        r"dynamic_scalar.0.weight of shape \(7, 9\), expected \(7, 10\) beside",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_content_is_one_line(store, tmp_path, case):
    held, expected = WRONG[case]
    torch.save(held, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=expected) as refused:
        load_clip4cir_combiner(tmp_path / "file.pt", store)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "file.pt"))


@pytest.mark.parametrize("content", [b"", b"no torch file", b"PK\x03\x04", None])
def test_a_damaged_file_is_one_line(store, tmp_path, content):
    file = publish(tmp_path / "file.pt")
    file.write_bytes(file.read_bytes()[:-300] if content is None else content)
    with pytest.raises(CheckpointError, match=r"is damaged .*: expected CLIP4Cir's") as refused:
        load_clip4cir_combiner(file, store)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_one_line(store, tmp_path):
    with pytest.raises(CheckpointError, match=r"no file at .*/none\.pt: expected CLIP4Cir's"):
        load_clip4cir_combiner(tmp_path / "none.pt", store)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_clip4cir_combiner(tmp_path, store)


class Bomb:
    """Writes a file where a pickle is loaded without care."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_no_code_of_the_file_is_run(store, tmp_path):
    torch.save({"Combiner": Bomb(tmp_path / "ran")}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_clip4cir_combiner(tmp_path / "file.pt", store)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("dim", "model"), [(640, "RN50x4"), (24, "MODEL")])
def test_vectors_of_another_length_are_told_with_the_remedy(store, tmp_path, dim, model):
    file = publish(tmp_path / "file.pt", published_state(dim=dim))
    with pytest.raises(StoreError, match=f"combines {dim}-d vectors; .* holds 16-d ones") as told:
        load_clip4cir_combiner(file, store)
    assert f"cir embed `model='{model}'`, and `weights='FILE'`" in str(told.value)
    wide = dataclasses.replace(store.provenance, embed_dim=dim)
    load_clip4cir_combiner(file, dataclasses.replace(store, provenance=wide))
