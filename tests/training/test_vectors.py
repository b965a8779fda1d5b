"""The vectors of now, and the exclusions that follow them where the image tower is tuned."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.dataset import Dataset
from cir.machine.processes import ALONE
from cir.mining.exclusions.rules import ExclusionRules, excluded_images
from cir.models.combiner import SumCombiner
from cir.progress import SILENT
from cir.training.model import Model
from cir.training.remining import Remining
from cir.training.train import train
from cir.training.train_data import TrainSet, build_train_set
from cir.training.vectors import CurrentVectors
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import Interrupted, Killed, assert_same, config_of, killing

THRESHOLD = 0.95


class Moved(Model):
    """A model whose tuned tower gives the vectors that it is handed."""

    def encoded_again(self, embeddings: Embeddings, *_: Any, **__: Any) -> Embeddings:
        return with_copy_of_a_target(embeddings)


def with_copy_of_a_target(store: Embeddings) -> Embeddings:
    """The last image comes to show what the first one does."""
    vectors = store.images.vectors.copy()
    vectors[-1] = vectors[0]
    return dataclasses.replace(store, images=VectorTable(store.images.keys, vectors))


def filtered(manifest: Manifest, threshold: float) -> Manifest:
    """The manifest, as if it had been mined with a threshold for near-duplicates."""
    options = manifest.metadata.options | {"duplicate_threshold": threshold}
    return dataclasses.replace(
        manifest, metadata=dataclasses.replace(manifest.metadata, options=options)
    )


@pytest.fixture
def data(dataset: Dataset, embeddings: Embeddings) -> TrainSet:
    manifest = filtered(random_manifest(dataset, embeddings), THRESHOLD)
    return build_train_set(dataset, embeddings, manifest, dev_fraction=0.25, seed=0)


def vectors_of(
    data: TrainSet, dataset: Dataset, store: Embeddings, *, tunes_image: bool
) -> CurrentVectors:
    model = Moved(SumCombiner(), None, tunes_image=tunes_image, tunes_text=not tunes_image)
    return CurrentVectors(
        model,
        data,
        dataset,
        store,
        device=torch.device("cpu"),
        workers=0,
        processes=ALONE,
        progress=SILENT,
    )


def lists(excluded: Iterable[np.ndarray] | Any) -> list[list[int]]:
    return [excluded.of(query).tolist() for query in range(len(excluded))]


def targeting_the_first_image(data: TrainSet, store: Embeddings) -> TrainSet:
    """One training query whose target is the store's first image."""
    query = dataclasses.replace(data.queries[0], target_ids=(store.images.keys[0],))
    return dataclasses.replace(data, queries=(query, *data.queries[1:]))


def test_exclusions_follow_the_images_that_are_tuned(dataset, embeddings, data):
    data = targeting_the_first_image(data, embeddings)
    vectors = vectors_of(data, dataset, embeddings, tunes_image=True)
    copy = len(embeddings.images.keys) - 1
    assert copy not in vectors.excluded.of(0)
    vectors.encode_again(mined=True)
    assert copy in vectors.excluded.of(0)
    found_again = excluded_images(data.queries, vectors.now, ExclusionRules(THRESHOLD))
    assert lists(vectors.excluded) == lists(found_again)


def test_exclusions_are_found_once_where_images_stay(dataset, embeddings, data, monkeypatch):
    vectors = vectors_of(data, dataset, embeddings, tunes_image=False)
    first = vectors.excluded
    monkeypatch.setattr("cir.training.vectors.excluded_images", None)
    vectors.encode_again(mined=False)
    assert vectors.excluded is first


def test_restored_images_keep_their_own_hashes(dataset, embeddings, data):
    """An interrupted run has the images of its queries and galleries alone."""
    vectors = vectors_of(data, dataset, embeddings, tunes_image=True)
    used = {
        i for query in (*data.queries, *data.dev) for i in (query.reference_id, query.target_id)
    }
    kept = tuple(i for i in embeddings.images.keys if i in used)
    vectors.restore_images(VectorTable(kept, embeddings.images.take(kept)))
    rows = embeddings.images.rows(kept)
    assert vectors.now.image_sha256 == tuple(embeddings.image_sha256[row] for row in rows)
    assert len(vectors.excluded) == len(data.queries)


@pytest.fixture
def sources_of_epochs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Embeddings, Any]]:
    """The vectors that each epoch began with, and the rows that it trained on."""
    seen: list[tuple[Embeddings, Any]] = []
    plain = Remining.sources

    def spy(remining: Remining) -> Any:
        sources = plain(remining)
        seen.append((remining._vectors.now, sources.rows))
        return sources

    monkeypatch.setattr(Remining, "sources", spy)
    return seen


@pytest.mark.slow
def test_steps_exclude_by_the_tuned_vectors_also_when_resumed(
    tmp_path: Path, dataset, encoded, monkeypatch, sources_of_epochs
):
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    unit = encoded.images.unit(encoded.images.keys, "images")
    threshold = float(np.quantile((unit @ unit.T)[np.triu_indices(len(unit), 1)], 0.95))
    manifest = filtered(random_manifest(dataset, encoded), threshold)
    changes = {"tune": "image", "epochs": 2, "clip_learning_rate": 1e-2, "contrast": "batch"}
    straight = train(config_of(tmp_path / "straight", **changes), dataset, encoded, manifest)
    queries = {query.id: query for query in dataset.queries("train")}
    now, rows = sources_of_epochs[1]
    trained = [queries[query_id] for query_id in rows.query_ids]
    by_now = excluded_images(trained, now, ExclusionRules(threshold))
    of_store = encoded.images.rows(now.images.keys)
    assert lists(rows.excluded) == [
        sorted(of_store[row]) for row in map(by_now.of, range(len(trained)))
    ]
    assert lists(rows.excluded) != lists(sources_of_epochs[0][1].excluded)

    out = tmp_path / "killed"
    with monkeypatch.context() as patched:
        Interrupted(patched, 6, killing)
        with pytest.raises(Killed):
            train(config_of(out, save_minutes=0, **changes), dataset, encoded, manifest)
    train(config_of(out, save_minutes=0, resume=True, **changes), dataset, encoded, manifest)
    assert_same(straight, out)
