"""Commands in another folder than a run was started in find what it was trained over."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cir.artefacts.manifest import write_manifest
from cir.config import ReportConfig
from cir.models.combiner import build_combiner
from cir.training import run_folder
from pipeline import report, train
from pipeline.cli import app
from tests.support.checkpoints import HIDDEN, saved
from tests.support.galleries import small_photos, stored
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import config_of
from tests.support.worlds import random_embeddings, small_dataset, write_store

PATHS: dict[str, Any] = {"dataset": "data/shop", "embeddings": "data/shop.h5"}


def _started_here(monkeypatch: pytest.MonkeyPatch, project: Path, **paths: str) -> Path:
    """A run folder that was made in `project`, by paths relative to it; then we are elsewhere."""
    monkeypatch.chdir(project)
    run_folder.make(Path("runs/shop"), config_of(Path("runs/shop"), **PATHS, **paths).to_json())
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    return Path("../runs/shop")


def test_a_search_by_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = micro_encoder()
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: encoder)
    stored(small_photos(tmp_path / "data/shop"), encoder, tmp_path / "data/shop.h5")
    run = _started_here(monkeypatch, tmp_path)
    combiner = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    saved(run / "checkpoints/best", combiner, encoder.provenance)
    done = CliRunner().invoke(app, ["search", str(run), "--image", "s0", "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 5


def test_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = small_dataset(tmp_path / "data/shop")
    write_store(random_embeddings(dataset), tmp_path / "data/shop.h5")
    read: list[Any] = []
    monkeypatch.setattr(report, "write_report", lambda *given, **_: read.extend(given))
    run = _started_here(monkeypatch, tmp_path)
    report.run(ReportConfig(run=run))
    assert read[2].root.samefile(tmp_path / "data/shop")
    assert read[3].path.samefile(tmp_path / "data/shop.h5")


@pytest.mark.parametrize("dataset", ["data/shop", "../data/shop"])
def test_going_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    """By the command that began it, or by one that names its inputs from here."""
    world = small_dataset(tmp_path / "data/shop")
    embeddings = random_embeddings(world)
    write_store(embeddings, tmp_path / "data/shop.h5")
    write_manifest(random_manifest(world, embeddings), tmp_path / "data/shop.parquet")
    run = _started_here(monkeypatch, tmp_path, manifest="data/shop.parquet")
    seen: list[Any] = []
    monkeypatch.setattr(train, "train", lambda config, *_, **__: seen.append(config) or run)
    monkeypatch.setattr(train, "_print_results", lambda *_: None)
    asked = PATHS | {"dataset": dataset, "manifest": "data/shop.parquet"}
    train.run(config_of(run, resume=True, **asked))
    assert seen[0].dataset.samefile(world.root)
    run_folder.require_same_settings(run, seen[0].to_json())
