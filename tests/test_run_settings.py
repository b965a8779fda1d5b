"""The paths that a run recorded, found from any folder."""

import json
from pathlib import Path

import pytest

from cir.run_settings import read_settings, recorded_path, same_place, write_settings

SETTINGS = {"out": "runs/shop", "dataset": "data/shop", "weights": None}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was started in `tmp_path / "project"`, where its dataset is; we are elsewhere."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "data/shop").mkdir(parents=True)
    (project / "runs/shop").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(project)
    write_settings(project / "runs/shop", SETTINGS)
    monkeypatch.chdir(elsewhere)
    return project / "runs/shop"


def _dataset(run: Path) -> Path:
    return recorded_path(run, read_settings(run), "dataset")


def test_a_path_leads_where_the_run_was_started(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _dataset(run) == run.parents[1] / "data/shop"
    assert _dataset(Path("../project/runs/shop")).samefile(run.parents[1] / "data/shop")
    monkeypatch.chdir(run.parents[1])
    assert _dataset(Path("runs/shop")) == Path("data/shop")


def test_another_folder_of_its_name_here_is_not_taken(run: Path) -> None:
    Path("data/shop").mkdir(parents=True)
    assert _dataset(run) == run.parents[1] / "data/shop"


def test_a_run_moved_with_its_data_finds_them_there(run: Path, tmp_path: Path) -> None:
    moved = run.parents[1].rename(tmp_path / "moved")
    assert _dataset(moved / "runs/shop") == moved / "data/shop"


def test_a_run_moved_alone_finds_where_it_was_started(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "best-run")
    assert _dataset(moved) == tmp_path / "project/data/shop"


def test_an_older_run_is_looked_for_from_here_at_last(run: Path, tmp_path: Path) -> None:
    settings = {"dataset": "data/shop"}
    (run / "config.json").write_text(json.dumps(settings))
    assert _dataset(run) == Path("data/shop")
    assert not _dataset(run).exists()
    Path("data/shop").mkdir(parents=True)
    assert _dataset(run).exists()


def test_the_same_place_is_known_under_another_path(run: Path) -> None:
    settings = read_settings(run)
    assert same_place(run, settings, "dataset", "../project/data/shop")
    assert not same_place(run, settings, "dataset", "../project/runs/shop")
    assert same_place(run, settings, "weights", None)
    assert not same_place(run, settings, "weights", "clip.pt")
