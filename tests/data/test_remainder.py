"""What is left of a dataset whose images are not all there."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.data.remainder import rank_in_whole, remainder, write_remainder
from cir.disk.recognition import MARKER
from cir.errors import DatasetError, UsageError
from cir.names import CATALOG_RECORDS, LEFT_OUT_FILE
from tests.support.cirr import cirr_dataset
from tests.support.worlds import small_dataset

GONE = ("a", "e")
ROWS = [
    {"candidate": "b", "target": "c", "captions": ["is red", ""], "note": "kept"},
    {"candidate": "a", "target": "c", "captions": ["its reference is gone"]},
    {"candidate": "b", "target": "a", "captions": ["its target is gone"]},
    {"candidate": "b", "target": "a", "targets": ["a", "d"], "captions": ["another is left"]},
    {"candidate": "c", "target": "d", "targets": ["d", "e"], "captions": ["the first is left"]},
    {"candidate": "c", "targets": ["e", "b"], "captions": ["named in targets alone"]},
    {"candidate": "c", "target": "a", "targets": ["a", "e"], "captions": ["none is left"]},
    {"candidate": "c", "target": "stranger", "captions": ["in no image split"]},
]
LEFT = [
    ROWS[0],
    {**ROWS[3], "target": "d", "targets": ["d"]},
    {**ROWS[4], "targets": ["d"]},
    {**ROWS[5], "targets": ["b"]},
]


@pytest.fixture
def hurt(tmp_path: Path) -> Dataset:
    """A dataset without `a`, with a broken `e`, and with whole splits of train and test."""
    made = small_dataset(tmp_path / "hurt", categories=("dress",), images=6, queries=4)
    images = made.root / "images"
    photo = next(images.glob("*.jpg")).read_bytes()
    for name in "bcd":
        (images / f"{name}.jpg").write_bytes(photo)
    (images / "e.jpg").write_bytes(photo[:-200])
    made.captions_file("dress", "val").write_text(json.dumps(ROWS))
    made.split_file("dress", "val").write_text(json.dumps(list("abcdeb")))
    return Dataset(made.root)


def contents(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def test_what_is_left_is_counted(hurt: Dataset) -> None:
    by_split = {part.split: part for part in remainder(hurt, GONE)}
    val = by_split["val"]
    assert (val.images, val.images_whole) == (3, 5)
    assert (val.queries, val.queries_whole) == (len(LEFT), len(ROWS))
    assert val.targets_lost == 3
    assert (by_split["train"].images, by_split["train"].queries) == (6, 4)
    assert by_split["test"].queries == 4, "a query without targets needs its reference alone"


def test_the_folder_is_a_whole_dataset(hurt: Dataset, tmp_path: Path) -> None:
    before = contents(hurt.root)
    parts = write_remainder(hurt, audit(hurt), tmp_path / "left")
    made = Dataset(tmp_path / "left")
    assert read(made.captions_file("dress", "val")) == LEFT
    assert made.gallery("val", "dress") == ["b", "c", "d"]
    assert made.queries("train") == hurt.queries("train")
    assert audit(made).complete
    assert made.image_path("b").read_bytes() == hurt.image_path("b").read_bytes()
    assert contents(hurt.root) == before
    assert parts == remainder(hurt, GONE)
    assert sorted(f.name for f in (tmp_path / "left").iterdir()) == sorted(
        [MARKER, "captions", "image_splits", "images", LEFT_OUT_FILE]
    )


def test_what_is_known_of_the_photos_that_are_left_is_kept(hurt: Dataset, tmp_path: Path) -> None:
    records = {photo: {"title": f"Dress {photo}"} for photo in "abcde"}
    (hurt.root / CATALOG_RECORDS).write_text(json.dumps({"photos": records, "form": {"rows": 5}}))
    write_remainder(hurt, audit(hurt), tmp_path / "left")
    assert read(tmp_path / "left" / CATALOG_RECORDS) == {
        "photos": {photo: records[photo] for photo in "bcd"},
        "form": {"rows": 5},
    }


def test_a_damaged_record_is_told_before_anything_is_written(hurt: Dataset, tmp_path: Path) -> None:
    (hurt.root / CATALOG_RECORDS).write_text('{"photos": 3}')
    with pytest.raises(DatasetError, match=r"catalog\.json is damaged"):
        write_remainder(hurt, audit(hurt), tmp_path / "left")
    assert not (tmp_path / "left").exists()


def test_it_records_what_is_left_out(hurt: Dataset, tmp_path: Path) -> None:
    parts = write_remainder(hurt, audit(hurt), tmp_path / "left")
    record = read(tmp_path / "left" / LEFT_OUT_FILE)
    assert record["source"] == str(hurt.root.resolve())
    assert record["missing"] == ["a"]
    assert list(record["broken"]) == ["e"]
    assert "damaged" in record["broken"]["e"]
    assert record["splits"] == [asdict(part) for part in parts]


def test_a_split_without_queries_is_not_written(hurt: Dataset, tmp_path: Path) -> None:
    rows = [ROWS[1], ROWS[2]]
    hurt.captions_file("dress", "val").write_text(json.dumps(rows))
    parts = write_remainder(hurt, audit(hurt), tmp_path / "left")
    assert Dataset(tmp_path / "left").splits == ("train", "test")
    assert [(p.queries, p.queries_whole) for p in parts if p.split == "val"] == [(0, 2)]


def test_a_gallery_without_captions_is_kept(hurt: Dataset, tmp_path: Path) -> None:
    hurt.captions_file("dress", "val").unlink()
    write_remainder(hurt, audit(hurt), tmp_path / "left")
    made = Dataset(tmp_path / "left")
    assert made.gallery("val", "dress") == ["b", "c", "d"]
    assert not made.captions_file("dress", "val").exists()


def test_nothing_left_is_told(hurt: Dataset, tmp_path: Path) -> None:
    for image in (hurt.root / "images").iterdir():
        image.unlink()
    bare = Dataset(hurt.root)
    with pytest.raises(DatasetError, match=r"nothing of .* is left: 17 images are missing and 0"):
        write_remainder(bare, audit(bare), tmp_path / "left")
    assert not (tmp_path / "left").exists()


@pytest.mark.parametrize("inner", ["", "cirr"])
def test_cirrs_form_loses_members_and_grades(tmp_path: Path, inner: str) -> None:
    whole = cirr_dataset(tmp_path / "cirr", images=20, queries=6, inner=inner)
    rows = read(whole.captions_file("rc2", "val"))
    subset = rows[0]["img_set"]["members"]
    other = next(i for i in subset if i not in (rows[0]["reference"], rows[0]["target_hard"]))
    whole.image_path(other).unlink()
    whole = Dataset(whole.root)
    found = write_remainder(whole, audit(whole), tmp_path / "left")
    made = Dataset(tmp_path / "left")
    left = read(made.captions_file("rc2", "val"))
    assert left[0]["pairid"] == rows[0]["pairid"]
    assert left[0]["img_set"]["members"] == [i for i in subset if i != other]
    assert left[0]["img_set"]["id"] == rows[0]["img_set"]["id"]
    assert other not in json.dumps(left)
    paths = read(whole.split_file("rc2", "val"))
    assert read(made.split_file("rc2", "val")) == {i: p for i, p in paths.items() if i != other}
    val = next(part for part in found if part.split == "val")
    cut = [other in row["img_set"]["members"] for row in left_of(rows, other)]
    assert val.subsets_cut == sum(cut)
    assert audit(made).complete


def left_of(rows: list[dict[str, Any]], gone: str) -> list[dict[str, Any]]:
    return [row for row in rows if gone not in (row["reference"], row["target_hard"])]


@pytest.mark.parametrize("older", [True, False], ids=["without a marker", "marked"])
def test_one_that_it_made_is_replaced(hurt: Dataset, tmp_path: Path, older: bool) -> None:
    out = tmp_path / "left"
    write_remainder(hurt, audit(hurt), out)
    if older:
        (out / MARKER).unlink()
    write_remainder(hurt, audit(hurt), out)
    assert audit(Dataset(out)).complete
    assert (hurt.root / "images").is_dir()


@pytest.mark.parametrize("place", [".", "images/left", ".."])
def test_it_is_never_written_in_place(hurt: Dataset, place: str) -> None:
    before = contents(hurt.root)
    with pytest.raises(UsageError, match=r"the input `dataset`|ends in a name"):
        write_remainder(hurt, audit(hurt), hurt.root / place)
    assert contents(hurt.root) == before


def test_a_rank_of_the_whole_is_that_of_the_mean_draw() -> None:
    """Against draws: a target at that rank of the whole has rank k, on average, in the part."""
    assert rank_in_whole(10, 1.0) == 10
    share, whole = 0.6, rank_in_whole(10, 0.6)
    rng = np.random.default_rng(0)
    nearer = rng.random((20_000, round(whole) - 1)) < share
    assert 1 + nearer.sum(axis=1).mean() == pytest.approx(10, abs=0.05)
