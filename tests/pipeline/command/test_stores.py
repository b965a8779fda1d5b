"""A store of other photos than the dataset has now is noticed by every stage that reads it."""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from cir.artefacts.changes import Changes
from cir.artefacts.photo_states import PhotoChanges, compare_bytes, require_fresh, states_of
from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from cir.errors import StoreError
from pipeline import evaluate, mine, train
from pipeline.cli import app
from pipeline.command.faults import FAILED
from pipeline.command.stores import read_fresh
from tests.support.digests import sha256_of
from tests.support.worlds import random_embeddings, small_dataset, write_store

runner = CliRunner()


class ReadByTestError(Exception):
    """Stands for all that a stage does once it has its store."""


@pytest.fixture
def world(tmp_path: Path) -> Dataset:
    return small_dataset(tmp_path / "dataset", categories=("dress",), images=4, queries=3)


@pytest.fixture
def store(world: Dataset, tmp_path: Path) -> Embeddings:
    """With the photos as they are."""
    files = [world.image_path(i) for i in world.image_ids()]
    made = dataclasses.replace(
        random_embeddings(world, path=tmp_path / "e.h5"),
        image_states=states_of(files),
        image_sha256=tuple(map(sha256_of, files)),
    )
    return read_embeddings(write_store(made))


def touched(dataset: Dataset, *ids: str) -> None:
    for image_id in ids:
        os.utime(dataset.image_path(image_id), ns=(0, 10**18))


def test_photos_as_they_were_are_fresh(world: Dataset, store: Embeddings) -> None:
    assert require_fresh(store, world, stale_ok=False) == 0


def test_photos_of_another_size_or_time_are_counted_and_refused(
    world: Dataset, store: Embeddings, capsys: pytest.CaptureFixture[str]
) -> None:
    touched(world, "dtr001")
    with world.image_path("dva002").open("ab") as file:
        file.write(b"more")
    expected = (
        r"2 of 12 photos of .* another size or time of change .*dtr001, dva002.*stale_ok=True"
    )
    with pytest.raises(StoreError, match=expected):
        read_fresh(store.path, world, stale_ok=False)
    assert read_fresh(store.path, world, stale_ok=True).sha256 == store.sha256
    said = " ".join(capsys.readouterr().out.split())
    assert f"2 of 12 photos have changed since {store.path} was made" in said


def test_a_store_that_recorded_no_states_and_photos_that_are_elsewhere_are_passed_over(
    world: Dataset, store: Embeddings
) -> None:
    touched(world, "dtr001")
    old = dataclasses.replace(store, image_states=None)
    assert require_fresh(old, world, stale_ok=False) == 0
    shutil.rmtree(world.root / "images")
    assert require_fresh(store, Dataset(world.root), stale_ok=False) == 0


def test_bytes_are_compared_whatever_the_times_say(world: Dataset, store: Embeddings) -> None:
    assert not compare_bytes(store, world)
    touched(world, "dtr001")
    path = world.image_path("dva002")
    status = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(0, status.st_mtime_ns))
    world.image_path("dte000").unlink()
    shorter = dataclasses.replace(
        store,
        images=dataclasses.replace(
            store.images, keys=store.images.keys[:-1], vectors=store.images.vectors[:-1]
        ),
        image_sha256=store.image_sha256[:-1],
    )
    found = compare_bytes(shorter, Dataset(world.root))
    assert found == PhotoChanges(("dva002",), ("dte000",), (store.images.keys[-1],))


@pytest.mark.parametrize("stage", [mine, train, evaluate])
def test_every_stage_refuses_a_stale_store_unless_told(
    world: Dataset,
    store: Embeddings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: ModuleType,
) -> None:
    for name in ("usable_queries", "read_manifest", "_protocols"):
        monkeypatch.setattr(stage, name, reached, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the bug is told in full
    monkeypatch.chdir(tmp_path)
    name = stage.__name__.rpartition(".")[2]
    asked = [name, "--dataset", str(world.root), "--embeddings", str(store.path)]
    asked += ["--query", "sum"] if stage is evaluate else []  # which needs no run
    touched(world, "dtr001")
    refused = runner.invoke(app, asked)
    assert refused.exit_code == FAILED
    said = " ".join(refused.stderr.split())
    assert "1 of 12 photos of" in said
    assert "or pass --stale-ok" in said
    went_on = runner.invoke(app, [*asked, "--stale-ok"])
    assert "this is a bug" in went_on.stderr
    assert "ReadByTestError" in went_on.stderr


def reached(*_: object, **__: object) -> None:
    raise ReadByTestError


def test_data_check_says_what_it_does_not_compare(world: Dataset, store: Embeddings) -> None:
    Changes(store.path).remove("dtr001")
    asked = ["data", "check", str(world.root), "--workers", "1", "--embeddings", str(store.path)]
    said = " ".join(runner.invoke(app, asked).stdout.split())
    assert "1 photo left out by the store, or added or removed while it was served" in said
    assert "holds every other photo as it is, byte for byte" in said


def test_data_check_compares_bytes_with_a_store(
    world: Dataset, store: Embeddings, tmp_path: Path
) -> None:
    asked = ["data", "check", str(world.root), "--workers", "1", "--embeddings", str(store.path)]
    same = runner.invoke(app, asked)
    assert same.exit_code == 0
    assert "holds every photo as it is, byte for byte" in " ".join(same.stdout.split())
    shutil.copy(world.image_path("dtr001"), world.image_path("dtr000"))
    found = tmp_path / "found.json"
    other = runner.invoke(app, [*asked, "--json", str(found)])
    assert other.exit_code == FAILED
    assert "1 photo with other bytes than when embedded: dtr000" in other.stderr
    assert json.loads(found.read_text())["embeddings"]["changed"] == ["dtr000"]


def test_states_of_no_files_are_no_rows() -> None:
    assert states_of([]).shape == (0, 2)
    assert states_of([Path("no/such/file")]).tolist() == [[-1, -1]]
    assert states_of([]).dtype == np.int64
