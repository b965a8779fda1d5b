"""Only what cir put into a folder, at whatever depth and as it was then, is its own."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from cir.disk.foreign import foreign, in_the_way
from cir.disk.recognition import CONTENTS, MARKER, write_marker
from cir.names import DEMO_NAMES, RUN_NAMES

PAGE = '<!doctype html><meta name="generator" content="cir 1">'
FIGURES = json.dumps({"protocols": [], "embeddings": {}, "cir_version": "1"})
SETTINGS = dict.fromkeys(("manifest", "dataset", "embeddings", "out", "epochs", "loss"), 1)


def put(file: Path, text: str = "mine") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def made_dataset(root: Path) -> Path:
    """A dataset folder as cir makes one, with photos flat and in a folder."""
    for name in ("1.jpg", "2.jpg", "3.jpg", "dress/4.jpg"):
        put(root / "images" / name, f"photo {name}")
    for name in ("captions/cap.dress.train.json", "image_splits/split.dress.train.json"):
        put(root / name, json.dumps(["1", "2", "3", "4"]))
    put(root / "catalog.json", json.dumps({"photos": {}, "left_out": {}}))
    write_marker(root, "dataset")
    return root


def made_run(root: Path) -> Path:
    """A run folder as cir fills one."""
    files = {
        "config.json": json.dumps(SETTINGS),
        "metrics.jsonl": '{"epoch": 0}\n',
        "times.jsonl": "",
        "trained.parquet": "PAR1 cir.trained",
        "report.html": PAGE,
        "val.json": FIGURES,
        "manifests/epoch-000.parquet": "PAR1 cir.manifest",
        "manifests/epoch-1000.parquet": "PAR1 cir.manifest",
        "manifests/.epoch-001.cir-0123abcd.parquet": "half",
        "tensorboard/events.out.tfevents.1700000000.host.1.0": "",
        "wandb/run-id": "0123456789ab",
        "wandb/offline-run-20260101_000000-abc/files/output.log": "",
    }
    for name, text in files.items():
        put(root / name, text)
    for name in ("best", "last"):
        put(root / "checkpoints" / name / "combiner.safetensors", "weights")
        write_marker(root / "checkpoints" / name, "checkpoint")
    write_marker(root, "run", RUN_NAMES)
    return root


def made_demo(root: Path) -> Path:
    """A demo's folder as cir fills one."""
    put(root / "demo.json", json.dumps({"cir_version": "1", "images": 300, "epochs": 1}))
    made_dataset(root / "dataset")
    made_run(root / "run")
    put(root / "report.html", PAGE)
    write_marker(root, "demo", DEMO_NAMES)
    return root


@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_your_photo_in_a_dataset_is_never_cirs(tmp_path: Path, removed: int) -> None:
    made_dataset(tmp_path)
    (tmp_path / "images/.DS_Store").touch()
    for number in range(removed):
        (tmp_path / f"images/{number + 1}.jpg").unlink()
    assert foreign(tmp_path, "dataset") == []
    for name in ("images/mine.jpg", "images/dress/mine.jpg", "images/more/1.jpg", "thesis.txt"):
        put(tmp_path / name)
    assert foreign(tmp_path, "dataset") == [
        "images/dress/mine.jpg",
        "images/mine.jpg",
        "images/more",
        "thesis.txt",
    ]


@pytest.mark.parametrize(
    "name",
    ["images/1.jpg", "images/dress/4.jpg", "captions/cap.dress.train.json", "catalog.json"],
)
def test_a_file_that_you_changed_is_yours(tmp_path: Path, name: str) -> None:
    made_dataset(tmp_path)
    held = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(held[::-1])  # as long as before
    assert foreign(tmp_path, "dataset") == [name]
    (tmp_path / name).write_bytes(held)
    assert foreign(tmp_path, "dataset") == [], "copies have another time of change"
    (tmp_path / name).write_bytes(held * 2)
    assert foreign(tmp_path, "dataset") == [name]


def test_a_photo_that_has_another_name_is_not_lost(tmp_path: Path) -> None:
    put(tmp_path / "photos/1.jpg", "as it was")
    (tmp_path / "made/images").mkdir(parents=True)
    os.link(tmp_path / "photos/1.jpg", tmp_path / "made/images/1.jpg")
    write_marker(tmp_path / "made", "dataset")
    (tmp_path / "photos/1.jpg").write_text("turned by its owner, under its own name")
    assert foreign(tmp_path / "made", "dataset") == []


def test_a_link_is_cirs_whatever_it_leads_to(tmp_path: Path) -> None:
    root, photos = tmp_path / "left", tmp_path / "photos"
    put(photos / "1.jpg")
    root.mkdir()
    (root / "images").symlink_to(photos)
    write_marker(root, "dataset")
    put(photos / "fetched.jpg")
    assert foreign(root, "dataset") == []
    (root / "images").unlink()
    put(root / "images/1.jpg")
    assert foreign(root, "dataset") == ["images"], "a folder is in its place"


def test_a_folder_that_was_moved_and_linked_is_still_cirs(tmp_path: Path) -> None:
    root = made_dataset(tmp_path / "dataset")
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert foreign(root, "dataset") == []


HIDDEN = (".mine-20260101.txt", ".mine.lock", ".mine.parts/1.txt", ".mine-retired/1.txt", ".mine")


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("below", ["", "images/"])
def test_your_hidden_files_are_yours(tmp_path: Path, below: str, name: str) -> None:
    made_dataset(tmp_path)
    put(tmp_path / below / name)
    assert foreign(tmp_path, "dataset") == [below + name.partition("/")[0]]


def test_what_cir_keeps_while_it_writes_is_cirs(tmp_path: Path) -> None:
    made_demo(tmp_path)
    put(tmp_path / ".run.lock", '{"command": "cir demo", "pid": 1}')
    put(tmp_path / ".dataset.lock", "")
    put(tmp_path / ".dataset.cir-0123abcd/images/1.jpg")
    put(tmp_path / f".embeddings.h5.parts/images-{'ab' * 32}-0-00000001.npz")
    put(tmp_path / f".embeddings.h5.parts/images-{'ab' * 32}-0-00000002.parquet")
    made_dataset(tmp_path / ".dataset-retired")
    assert foreign(tmp_path, "demo") == []


IN_RUN = (
    "notes.md",
    "checkpoints/epoch-5/combiner.safetensors",
    "checkpoints/best/notes.md",
    "checkpoints/best/combiner.safetensors",
    "checkpoints/last/backup/trainer.pt",
    "checkpoints/notes.md",
    "manifests/notes.txt",
    "manifests/epoch-000.parquet",
    "manifests/epoch-007.parquet/1.txt",
    "tensorboard/own.txt",
    "tensorboard/events.out.tfevents.mine/1.txt",
    "wandb/notes.md",
    "wandb/run-notes/1.txt",
    "config.json",
    "metrics.jsonl",
    "times.jsonl",
    "trained.parquet",
    "report.html",
    "val.json",
    "test.json/own.txt",
)


@pytest.mark.parametrize("name", IN_RUN)
def test_what_stands_in_a_run_is_known_by_what_it_holds(tmp_path: Path, name: str) -> None:
    made_run(tmp_path)
    assert foreign(tmp_path, "run") == []
    put(tmp_path / name)
    (found,) = foreign(tmp_path, "run")
    assert name.startswith(found)


@pytest.mark.parametrize(
    "name",
    [
        *(f"run/{name}" for name in IN_RUN),
        *("dataset/images/own.jpg", "dataset/notes.md", "dataset/images/1.jpg"),
        *("embeddings.h5", "manifest.parquet", "report.html", "demo.json", "run.txt"),
    ],
)
def test_a_demo_is_looked_through_as_the_dataset_and_run_that_it_holds(
    tmp_path: Path, name: str
) -> None:
    made_demo(tmp_path)
    assert foreign(tmp_path, "demo") == []
    put(tmp_path / name)
    (found,) = foreign(tmp_path, "demo")
    assert name.startswith(found)


def test_a_folder_of_yours_in_the_place_of_a_demos_run_is_not_cirs(tmp_path: Path) -> None:
    put(tmp_path / "run/thesis.txt")
    put(tmp_path / "dataset", "a file")
    write_marker(tmp_path, "demo", DEMO_NAMES)
    assert foreign(tmp_path, "demo") == ["dataset", "run/thesis.txt"]


@pytest.mark.parametrize(
    ("name", "is_replaced"),
    [
        ("report.html", True),
        ("manifests/epoch-002.parquet", True),
        ("checkpoints/last/notes.md", True),
        ("checkpoints/best/mine/1.txt", True),
        ("checkpoints/last/combiner.safetensors", False),
        ("notes.md", False),
        ("manifests/notes.md", False),
        ("checkpoints/mine/combiner.safetensors", False),
    ],
)
@pytest.mark.parametrize("demo", [True, False])
def test_a_run_that_goes_on_meets_what_it_would_replace(
    tmp_path: Path, name: str, is_replaced: bool, demo: bool
) -> None:
    made = "demo" if demo else "run"
    root = made_demo(tmp_path) if demo else made_run(tmp_path)
    assert in_the_way(root, made) == []
    put((tmp_path / "run" if demo else tmp_path) / name)
    assert bool(in_the_way(root, made)) is is_replaced


# ------------------------------------------------------------------------ older versions


def as_older(dataset: Path, how: str) -> None:
    """Makes a dataset's marker say what older versions said, or removes it."""
    marker = json.loads((dataset / MARKER).read_text())
    (dataset / MARKER).unlink()
    if how == "without a marker":
        return
    del marker[CONTENTS]
    inside = {
        folder.name: sorted(entry.name for entry in folder.iterdir())
        for folder in dataset.iterdir()
        if folder.is_dir()
    }
    if how == "counted":
        inside = {
            name: [len(held), hashlib.sha256("/".join(held).encode()).hexdigest()]  # type: ignore[misc]
            for name, held in inside.items()
        }
    (dataset / MARKER).write_text(json.dumps(marker | {"inside": inside}))


OLDER = ("named", "counted", "without a marker")


@pytest.mark.parametrize("how", OLDER)
@pytest.mark.parametrize(
    "name", ["images/mine.jpg", "images/dress/mine.jpg", "captions/notes.txt", "images/.mine.lock"]
)
def test_your_file_in_a_dataset_of_an_older_version_is_yours(
    tmp_path: Path, how: str, name: str
) -> None:
    made_dataset(tmp_path)
    as_older(tmp_path, how)
    assert foreign(tmp_path, "dataset") == []
    put(tmp_path / name)
    (found,) = foreign(tmp_path, "dataset")
    assert found in (name, f"other files in {name.partition('/')[0]}")


def test_a_dataset_of_an_older_version_may_have_lost_photos(tmp_path: Path) -> None:
    made_dataset(tmp_path)
    as_older(tmp_path, "named")
    (tmp_path / "images/2.jpg").unlink()
    assert foreign(tmp_path, "dataset") == []
    (tmp_path / "more").mkdir()
    assert foreign(tmp_path, "dataset") == ["more"]


def test_a_dataset_whose_names_were_counted_is_replaced_with_the_very_ones(tmp_path: Path) -> None:
    made_dataset(tmp_path)
    as_older(tmp_path, "counted")
    (tmp_path / "images/2.jpg").rename(tmp_path / "images/mine.jpg")
    assert foreign(tmp_path, "dataset") == ["other files in images"]


def test_a_folder_in_a_checkpoint_of_an_older_version_is_yours(tmp_path: Path) -> None:
    put(tmp_path / "metadata.json", json.dumps({"combiner": "sum", "provenance": {}}))
    assert foreign(tmp_path, "checkpoint") == []
    put(tmp_path / "trainer.pt/1.txt")
    assert foreign(tmp_path, "checkpoint") == ["trainer.pt"]
