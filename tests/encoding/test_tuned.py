"""A store's vectors as a checkpoint's encoder sees them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.dataset import Dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.tuned import as_tuned, require_images_of
from cir.encoding.weights.files import weights_sha256
from cir.errors import CheckpointError, StoreError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import evaluate
from cir.machine.processes import ALONE, Processes
from cir.models.combiner import SumCombiner
from tests.support.checkpoints import saved
from tests.support.judged import CPU
from tests.support.micro import micro_encoder
from tests.support.threads import in_shards
from tests.support.worlds import random_embeddings


def tuned_checkpoint(folder: Path, store: Embeddings, encoder: Encoder, tune: str) -> Path:
    """A checkpoint trained on a store, with what its encoder became."""
    return saved(
        folder / "best",
        SumCombiner(),
        store.provenance,
        name="sum",
        tune=tune,
        clip=encoder.clip,
    )


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["text", "image", "both"])
def test_a_tuned_encoder_gives_the_vectors_anew(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: str
) -> None:
    """Only the tuned tower's vectors change, and they are the tuned encoder's own."""
    encoder = micro_encoder(seed=1)
    embeddings = random_embeddings(dataset, dim=encoder.dim)
    folder = tuned_checkpoint(tmp_path, embeddings, encoder, tune)
    asked: list[Path] = []

    def load(model: str, *, weights: Path, **_: object) -> Encoder:
        asked.append(weights)
        return encoder

    monkeypatch.setattr("cir.encoding.loading.load_encoder", load)
    queries, ids = dataset.queries("val"), sorted(set().union(*dataset.galleries("val").values()))
    checkpoint = read_checkpoint(folder)
    now = as_tuned(embeddings, checkpoint, dataset, queries, ids, device=CPU, workers=0)
    assert asked == [folder]
    ids, texts = ids[:3], now.captions.keys[:3]
    files = [dataset.image_path(i) for i in ids]
    images = {True: image_vectors(encoder, files, batch_size=3, workers=0)}
    captions = {True: caption_vectors(encoder, texts, batch_size=3)}
    images[False], captions[False] = embeddings.images.take(ids), embeddings.captions.take(texts)
    assert np.allclose(now.images.take(ids), images[tune in ("image", "both")], atol=1e-5)
    assert np.allclose(now.captions.take(texts), captions[tune in ("text", "both")], atol=1e-5)
    _evaluates(now, dataset)


@pytest.mark.slow
def test_of_several_processes_each_encodes_a_part(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = micro_encoder(seed=1)
    store = random_embeddings(dataset, dim=encoder.dim)
    checkpoint = read_checkpoint(tuned_checkpoint(tmp_path, store, encoder, "text"))
    encoded: list[int] = []

    def counted(encoder: Encoder, texts: Sequence[str], **how: Any) -> np.ndarray:
        encoded.append(len(texts))
        return caption_vectors(encoder, texts, **how)

    monkeypatch.setattr("cir.encoding.refresh.caption_vectors", counted)
    loaded = iter([micro_encoder(seed=1) for _ in range(3)])
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: next(loaded))
    queries = dataset.queries("val")

    def seen(processes: Processes) -> VectorTable:
        now = as_tuned(
            *(store, checkpoint, dataset, queries, ()),
            device=CPU,
            workers=0,
            processes=processes,
        )
        return now.captions

    alone = seen(ALONE)
    assert encoded == [len(alone.keys)]
    encoded.clear()
    for found in in_shards([0.4], seen):
        assert found.keys == alone.keys
        np.testing.assert_array_equal(found.vectors, alone.vectors)
    assert sum(encoded) == len(alone.keys)


def test_a_store_of_the_tuned_encoder_is_taken_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    encoder = micro_encoder(seed=1)
    before = random_embeddings(dataset, dim=encoder.dim)
    folder = tuned_checkpoint(tmp_path, before, encoder, "both")
    digest = weights_sha256(encoder.clip.state_dict())
    of_tuned = dataclasses.replace(before.provenance, pretrained="best", weights_sha256=digest)
    store = dataclasses.replace(before, provenance=of_tuned)
    found = as_tuned(store, read_checkpoint(folder), dataset, [], [], device=CPU, workers=0)
    assert found is store


@pytest.mark.parametrize("tune", ["text", "both"])
def test_a_store_of_a_third_encoder_is_refused_with_what_fits(
    dataset: Dataset, tmp_path: Path, tune: str
) -> None:
    encoder = micro_encoder(seed=1)
    trained_on = random_embeddings(dataset, dim=encoder.dim)
    folder = tuned_checkpoint(tmp_path, trained_on, encoder, tune)
    other = dataclasses.replace(trained_on.provenance, weights_sha256="f" * 64)
    store, checkpoint = dataclasses.replace(trained_on, provenance=other), read_checkpoint(folder)
    own = f"`model='micro'` `weights='{folder}'`"
    with pytest.raises(CheckpointError, match="pass the store that it was trained on, or") as told:
        as_tuned(store, checkpoint, dataset, [], [], device=CPU, workers=0)
    assert str(told.value).endswith(own)
    assert "f" * 13 not in str(told.value)
    for of_images in (store, trained_on) if tune == "both" else (store,):
        with pytest.raises(StoreError) as told_images:
            require_images_of(checkpoint, of_images, StoreError)
        assert str(told_images.value).endswith(own)
    if tune == "text":
        require_images_of(checkpoint, trained_on, StoreError)


def _evaluates(embeddings: Embeddings, dataset: Dataset) -> None:
    """Every vector that evaluation needs is there, whatever the protocol."""
    for captions in ("joined", "both-orders"):
        evaluate(
            dataset.queries("val"),
            dataset.galleries("val"),
            embeddings,
            SumCombiner(),
            Protocol("val", captions=captions),  # type: ignore[arg-type]
            query="sum",
            device=CPU,
        )


def test_without_a_checkpoint_nothing_is_encoded(dataset: Dataset) -> None:
    store = random_embeddings(dataset)
    assert as_tuned(store, None, dataset, [], [], device=CPU, workers=0) is store
