"""Worlds that the tests of training share."""

from pathlib import Path

import pytest

from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import encoded_by, run
from tests.support.worlds import random_embeddings, write_store


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
    return encoded_by(micro_encoder(tower="resnet"), dataset)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch):
    """The encoder of `encoded`, found by training whatever it asks for."""
    made = micro_encoder(tower="resnet")
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: made)
    return made


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> dict[str, Path]:
    """What `cir train` reads, as files."""
    folder = tmp_path_factory.mktemp("files")
    made = random_embeddings(dataset, path=folder / "embeddings.h5")
    store = read_embeddings(write_store(made))
    write_manifest(random_manifest(dataset, store), folder / "manifest.parquet")
    return {
        "dataset": dataset.root,
        "embeddings": store.path,
        "manifest": folder / "manifest.parquet",
    }
