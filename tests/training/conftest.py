"""Worlds that the tests of training share."""

import dataclasses
from pathlib import Path

import pytest

from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vectors import Table
from cir.data.dataset import Dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.training import model as model_module
from tests.micro import micro_encoder
from tests.mined import random_manifest
from tests.test_mine import written
from tests.training.runs import run
from tests.worlds import random_embeddings


@pytest.fixture(scope="session")
def embeddings(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, dataset, embeddings) -> Path:
    """A run that was never killed, which no test may change."""
    return run(tmp_path_factory.mktemp("straight") / "run", dataset, embeddings)


@pytest.fixture(scope="session")
def encoded(dataset: Dataset) -> Embeddings:
    """The vectors that a micro encoder gives, under its provenance."""
    encoder = micro_encoder(tower="resnet")
    drawn = random_embeddings(dataset)
    files = [dataset.image_path(image_id) for image_id in drawn.images.keys]
    images = image_vectors(encoder, files, batch_size=64, workers=0)
    captions = caption_vectors(encoder, drawn.captions.keys, batch_size=64)
    return dataclasses.replace(
        drawn,
        images=Table(drawn.images.keys, images),
        captions=Table(drawn.captions.keys, captions),
        provenance=encoder.provenance,
    )


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch):
    """The encoder of `encoded`, found by training whatever it asks for."""
    made = micro_encoder(tower="resnet")
    monkeypatch.setattr(model_module, "load_encoder", lambda *_, **__: made)
    return made


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> dict[str, Path]:
    """What `cir train` reads, as files."""
    folder = tmp_path_factory.mktemp("files")
    made = random_embeddings(dataset, path=folder / "embeddings.h5")
    store = read_embeddings(written(made))
    write_manifest(random_manifest(dataset, store), folder / "manifest.parquet")
    return {
        "dataset": dataset.root,
        "embeddings": store.path,
        "manifest": folder / "manifest.parquet",
    }
