"""The train stage: what it says beside the figures."""

import dataclasses
from pathlib import Path

import pytest

from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from pipeline.train import run
from tests.support.mined import random_manifest
from tests.support.runs import fusion_config
from tests.support.worlds import random_embeddings, write_store


@pytest.mark.slow
@pytest.mark.parametrize("band", [0.05, 0.2])
def test_margins_that_differ_are_said(
    dataset: Dataset, tmp_path: Path, band: float, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(random_embeddings(dataset), tmp_path / "store.h5")
    mined = random_manifest(dataset, read_embeddings(store))
    metadata = dataclasses.replace(mined.metadata, margin=band)
    write_manifest(dataclasses.replace(mined, metadata=metadata), tmp_path / "manifest.parquet")
    files = {
        "dataset": dataset.root,
        "embeddings": store,
        "manifest": tmp_path / "manifest.parquet",
    }
    run(fusion_config(tmp_path / "run", loss="triplet", epochs=1, **files))
    said = " ".join(capsys.readouterr().out.split())
    expected = "mined with a margin of 0.05, and the triplet loss has one of 0.2: --margin 0.05"
    assert (expected in said) == (band != 0.2)
