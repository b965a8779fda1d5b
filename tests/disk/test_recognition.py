"""What cir made is told from what others made, with a marker and without."""

import json
from pathlib import Path

import pytest

from cir.disk.foreign import foreign
from cir.disk.recognition import MARKER, is_marked, why_not_ours, write_marker
from cir.types import Artefact

SETTINGS = dict.fromkeys(("manifest", "dataset", "embeddings", "out", "epochs", "loss"), 1)
OLDER: dict[Artefact, dict[str, object]] = {
    "run": {"config.json": SETTINGS, "metrics.jsonl": {"epoch": 0}},
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
    (tmp_path / "thesis.txt").write_text("mine")
    assert foreign(tmp_path, "dataset") == ["thesis.txt"]


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
        ("examples", '{"anchor": {"image": "a", "text": "b"}, "positive": {"image": "c"}}\n'),
        ("pairs", '{"reference_id": "a", "target_id": "b", "captions": [], "source": ""}\n'),
    ],
)
def test_a_file_is_known_by_what_it_holds(tmp_path: Path, made: Artefact, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    assert why_not_ours(file, made) is None
    for other in (
        "",
        "{}",
        '{"anchor": "a", "positive": "b"}',
        "years of work",
        "[" * 9999,
        text[5:],
    ):
        file.write_text(other)
        assert "does not read as" in str(why_not_ours(file, made))
