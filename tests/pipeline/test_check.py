"""`cir data check`: what it tells of a folder whose photos are not all there, and writes."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cir.config import CheckConfig
from cir.data.dataset import Dataset
from cir.errors import ConfigError
from pipeline.check import run
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from tests.support.worlds import small_dataset

runner = CliRunner()


@pytest.fixture
def hurt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """`hurt` in the current folder lacks six photos of val's twelve."""
    monkeypatch.chdir(tmp_path)
    made = small_dataset(Path("hurt"), categories=("dress",), images=12, queries=8)
    for image_id in made.gallery("val", "dress")[::2]:
        made.image_path(image_id).unlink()
    return Dataset(made.root)


def check(options: str, code: int = 0) -> str:
    done = runner.invoke(app, f"data check --workers 1 {options}".split(), env={"COLUMNS": "120"})
    assert done.exit_code == code, done.output
    return " ".join((done.stderr if code == MISUSED else done.stdout).split())


def test_it_says_how_far_figures_can_be_compared(hurt: Dataset) -> None:
    shown = check("hurt --json found.json", FAILED)
    assert "What is left without the images that are missing or broken" in shown
    assert "val keeps 6 of 12 gallery images, 50.0%" in shown
    assert "R@10 for R@19.0 and R@50 for R@99.0 of the whole" in shown
    assert "published figures" not in shown, "these are not FashionIQ's categories"
    left = {part["split"]: part for part in json.loads(Path("found.json").read_text())["left"]}
    assert (left["val"]["images"], left["val"]["images_whole"]) == (6, 12)
    assert left["train"]["queries"] == left["train"]["queries_whole"] == 8


def test_what_is_left_is_written_and_checked_again(hurt: Dataset) -> None:
    hurt.image_path(hurt.gallery("train", "dress")[0]).write_bytes(b"no photo")
    told = runner.invoke(
        app, ["data", "check", "--workers", "1", "hurt", "--without-missing", "left"]
    )
    assert "error:" not in told.stderr
    shown = " ".join(told.stdout.split())
    assert "6 images missing: " in shown
    assert "1 image broken: " in shown
    assert "folders of photos are links to those of hurt, so broken files lie there" in shown
    assert "left: what is left, with left_out.json of what is not" in shown
    assert "complete: every stage finds what it needs" in check("left")
    assert "exists: pass --overwrite to replace it, or another --without-missing" in check(
        "hurt --without-missing left", MISUSED
    )
    check("hurt --without-missing left --overwrite")
    assert "inside of the input DATASET" in check("hurt --without-missing hurt/new", MISUSED)


def test_a_val_that_is_whole_can_be_compared(
    hurt: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("hurt")
    for category in ("dress", "shirt", "toptee"):
        made = small_dataset(Path("other"), (category,), images=4, queries=2)
        shutil.copytree("other", "hurt", dirs_exist_ok=True)
        shutil.rmtree("other")
    made = Dataset(Path("hurt"))
    made.image_path(made.gallery("train", "dress")[0]).unlink()
    assert run(CheckConfig(dataset=Path("hurt"), workers=1)) is False
    shown = " ".join(capsys.readouterr().out.split())
    assert "val is whole: its figures can be compared with those of others" in shown
    assert "published figures are of val galleries of 3,817 dress, 6,346 shirt, 5,373 top" in shown


def test_a_complete_folder_says_nothing_of_it(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = check(f"{dataset.root} --json found.json")
    assert "What is left" not in shown
    assert json.loads(Path("found.json").read_text())["left"] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"without_missing": Path("x"), "images": False}, "needs every image opened"),
        ({"overwrite": True}, "`overwrite` is of `json` and `without_missing`, and none"),
    ],
)
def test_options_at_odds_are_told(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        CheckConfig(**options)  # type: ignore[arg-type]
