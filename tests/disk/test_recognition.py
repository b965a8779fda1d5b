"""What cir made is told from what others made, with a marker and without."""

import hashlib
import json
from pathlib import Path

import pytest

from cir.disk.recognition import (
    DEMO_FILES,
    MARKER,
    RUN_FILES,
    foreign,
    is_marked,
    why_not_ours,
    write_marker,
)
from cir.types import Artefact

SETTINGS = dict.fromkeys(("manifest", "dataset", "embeddings", "out", "epochs", "loss"), 1)
OLDER: dict[Artefact, dict[str, object]] = {
    "run": {"config.json": SETTINGS, "metrics.jsonl": {}},
    "demo": {"demo.json": {"cir_version": "1", "images": 300, "epochs": 1}},
    "checkpoint": {"metadata.json": {"combiner": "sum", "provenance": {}}},
    "submission": {"dress.predict.json": [], "shirt.predict.json": []},
    "dataset": {"catalog.json": {"photos": {}, "left_out": {}}},
}
"""Files by which a folder without a marker is known."""


@pytest.mark.parametrize("made", OLDER)
def test_a_folder_of_an_older_version_is_known_by_its_files(tmp_path: Path, made: Artefact) -> None:
    for name, value in OLDER[made].items():
        (tmp_path / name).write_text(json.dumps(value))
    assert why_not_ours(tmp_path, made) is None
    assert foreign(tmp_path, made) == []
    (tmp_path / "notes.txt").write_text("mine")
    if made == "submission":
        assert why_not_ours(tmp_path, made)
    else:
        assert foreign(tmp_path, made) == ["notes.txt"]


@pytest.mark.parametrize(
    ("made", "file", "value"),
    [
        ("run", "config.json", {"batch_size": 3}),
        ("run", "config.json", []),
        ("demo", "demo.json", {"images": 3}),
        ("checkpoint", "metadata.json", {}),
        ("dataset", "catalog.json", {"photos": {}}),
        ("dataset", "added.json", [{"mine": 1}]),
        ("submission", "predict.json", []),
    ],
)
def test_a_file_of_the_same_name_is_not_enough(
    tmp_path: Path, made: Artefact, file: str, value: object
) -> None:
    (tmp_path / file).write_text(json.dumps(value))
    assert "does not read as" in str(why_not_ours(tmp_path, made))


def test_a_marker_says_what_the_folder_is_and_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_marker(tmp_path, "dataset")
    assert is_marked(tmp_path)
    assert why_not_ours(tmp_path, "dataset") is None
    assert why_not_ours(tmp_path, "run") == "is a dataset folder, not a run folder"
    assert foreign(tmp_path, "dataset") == []
    for name in ("thesis.txt", ".run.lock", ".store-0123abcd.h5", ".store.h5.parts"):
        (tmp_path / name).write_text("mine")
    assert foreign(tmp_path, "dataset") == ["thesis.txt"]


def test_what_stands_in_the_folders_of_a_run_is_not_cirs_either(tmp_path: Path) -> None:
    for name in ("checkpoints/best", "checkpoints/last", "manifests"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("epoch-000.parquet", "epoch-1000.parquet", ".epoch-001-0123abcd.parquet"):
        (tmp_path / "manifests" / name).touch()
    write_marker(tmp_path, "run", RUN_FILES)
    assert foreign(tmp_path, "run") == []
    (tmp_path / "checkpoints" / "the-good-one").mkdir()
    (tmp_path / "checkpoints" / "best" / "notes.md").touch()
    (tmp_path / "manifests" / "notes.txt").touch()
    (tmp_path / "tensorboard").mkdir()
    for name in ("events.out.tfevents.1.host.2.0", "own.txt"):
        (tmp_path / "tensorboard" / name).touch()
    assert foreign(tmp_path, "run") == [
        "checkpoints/the-good-one",
        "checkpoints/best/notes.md",
        "manifests/notes.txt",
        "tensorboard/own.txt",
    ]


def test_what_stands_in_the_parts_of_a_demo_is_not_cirs_either(tmp_path: Path) -> None:
    for name in ("dataset/images", "run/checkpoints/best"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dataset/images/1.jpg").touch()
    (tmp_path / "run/checkpoints/best/metadata.json").touch()
    write_marker(tmp_path / "dataset", "dataset")
    write_marker(tmp_path / "run/checkpoints/best", "checkpoint")
    write_marker(tmp_path / "run", "run", RUN_FILES)
    write_marker(tmp_path, "demo", DEMO_FILES)
    assert foreign(tmp_path, "demo") == []
    own = ("dataset/images/own.jpg", "run/notes.md", "run/checkpoints/best/notes.md")
    for name in own:
        (tmp_path / name).touch()
    assert foreign(tmp_path, "demo") == list(own)


def test_what_stands_in_a_folder_of_a_dataset_is_not_cirs_either(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (images / name).touch()
    write_marker(tmp_path, "dataset")
    (images / ".DS_Store").touch()
    assert foreign(tmp_path, "dataset") == []
    (images / "3.jpg").unlink()
    assert foreign(tmp_path, "dataset") == []
    (images / "2.jpg").unlink()
    (images / "mine.jpg").touch()
    assert foreign(tmp_path, "dataset") == ["images/mine.jpg"]
    (images / "mine.jpg").unlink()
    (tmp_path / "captions").mkdir()
    assert foreign(tmp_path, "dataset") == ["captions"]


def test_a_dataset_of_an_older_version_is_replaced_with_the_very_names_it_was_made_with(
    tmp_path: Path,
) -> None:
    """It recorded their number and a digest, which do not tell the names that are new."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("1.jpg", "2.jpg"):
        (images / name).touch()
    write_marker(tmp_path, "dataset")
    marker = json.loads((tmp_path / MARKER).read_text())
    marker["inside"] = {"images": [2, hashlib.sha256(b"1.jpg/2.jpg").hexdigest()]}
    (tmp_path / MARKER).write_text(json.dumps(marker))
    assert foreign(tmp_path, "dataset") == []
    (images / "2.jpg").rename(images / "mine.jpg")
    (images / "1.jpg").unlink()
    assert foreign(tmp_path, "dataset") == ["other files in images"]


def test_a_linked_folder_of_photos_may_change_but_not_become_a_folder(tmp_path: Path) -> None:
    photos, made = tmp_path / "photos", tmp_path / "made"
    photos.mkdir()
    made.mkdir()
    (made / "images").symlink_to(photos)
    write_marker(made, "dataset")
    (photos / "new.jpg").touch()
    assert foreign(made, "dataset") == []
    (made / "images").unlink()
    (made / "images").mkdir()
    (made / "images" / "mine.jpg").touch()
    assert foreign(made, "dataset") == ["images/mine.jpg"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"made": 3}', '{"made": "run"}', "[" * 9999])
def test_a_marker_that_does_not_read_as_one_marks_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    assert not is_marked(tmp_path)
    assert why_not_ours(tmp_path, "run")


def test_an_empty_folder_is_nobodys(tmp_path: Path) -> None:
    assert why_not_ours(tmp_path, "run") is None


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ("figures", '{"protocols": [], "embeddings": {}, "cir_version": "1"}'),
        ("figures", '{"comparisons": [], "before": {}, "after": {}}'),
        ("audit", '{"form": "CIRR", "splits": [], "duplicates": [], "complete": true}'),
        ("page", '<!doctype html><meta name="generator" content="cir 1">'),
        ("page", "<!doctype html><footer>Written by cir 1. This page"),
        ("examples", '{"anchor": "a", "positive": "b", "negative": "c"}\n'),
        ("pairs", '{"reference_id": "a", "target_id": "b", "captions": [], "source": ""}\n'),
    ],
)
def test_a_file_is_known_by_what_it_holds(tmp_path: Path, made: Artefact, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    assert why_not_ours(file, made) is None
    for other in ("", "{}", "years of work", "[" * 9999, text[5:]):
        file.write_text(other)
        assert "does not read as" in str(why_not_ours(file, made))
