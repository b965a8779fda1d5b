"""The dataset folder, on small ones and on the real FashionIQ annotations."""

import json
import os
from pathlib import Path

import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from tests.support.worlds import small_dataset

SHARED = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[3] / "shared"))
FASHIONIQ = SHARED / "fashioniq"
needs_fashioniq = pytest.mark.skipif(
    not FASHIONIQ.is_dir(), reason=f"no FashionIQ annotations at {FASHIONIQ}; set CIR_SHARED"
)


def test_queries_keep_the_files_order_and_ids(dataset: Dataset) -> None:
    queries = dataset.queries("train")
    rows = json.loads(dataset.captions_file("dress", "train").read_text())
    assert [q.reference_id for q in queries[: len(rows)]] == [row["candidate"] for row in rows]
    assert queries[0].id == "dress-train-00000"
    assert queries[3].target_id == rows[3]["target"]


def test_a_test_split_has_no_targets(dataset: Dataset) -> None:
    assert all(query.target_ids == () for query in dataset.queries("test"))


def test_targets_name_several_with_the_target_first(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d", categories=("dress",), images=6, queries=1)
    file = dataset.captions_file("dress", "val")
    a, b, c = dataset.gallery("val", "dress")[:3]
    row = {"candidate": a, "target": c, "targets": [b, c], "captions": ["x", "y"]}
    file.write_text(json.dumps([row]))
    assert dataset.queries("val")[0].target_ids == (c, b)


def test_images_may_lie_in_a_folder_a_category(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d", categories=("dress",), images=6, queries=1)
    moved = next((dataset.root / "images").glob("*.jpg"))
    (dataset.root / "images" / "dress").mkdir()
    moved.rename(dataset.root / "images" / "dress" / moved.name)
    assert Dataset(dataset.root).image_path(moved.stem).parent.name == "dress"


def test_an_id_that_no_file_name_can_hold_has_no_image(dataset: Dataset) -> None:
    """Beside one whose name is the longest, 255 bytes with the suffix."""
    assert [dataset.find_image("x" * size) for size in (251, 252, 5000)] == [None] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not readable JSON"),
        ('{"a": 1}', "expected a list of queries"),
        ('[{"candidate": 3}]', "row 0: expected an object with a candidate id"),
        ('[{"candidate": "a", "captions": "red"}]', "captions as a list of texts"),
        ('[{"candidate": "a", "captions": []}]', "captions as a list of texts, one at least"),
        ('[{"candidate": "a", "captions": ["x"], "target": 5}]', "target ids as texts"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, text: str, expected: str) -> None:
    dataset = small_dataset(tmp_path / "d", categories=("dress",), images=4, queries=1)
    dataset.captions_file("dress", "val").write_text(text)
    with pytest.raises(DatasetError, match=expected) as raised:
        dataset.queries("val")
    assert "cap.dress.val.json" in str(raised.value)


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d", categories=("dress",), images=4, queries=1)
    dataset.captions_file("dress", "val").unlink()
    with pytest.raises(DatasetError, match=r"no split .val.*its splits are train"):
        dataset.queries("val")


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset folder"):
        Dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"holds no captions/cap\."):
        Dataset(tmp_path)


def test_audit_finds_each_fault(tmp_path: Path) -> None:
    root = small_dataset(tmp_path / "d", categories=("dress",), images=8, queries=4).root
    images = sorted((root / "images").glob("dtr*.jpg"))
    images[0].unlink()
    images[1].write_bytes(b"")
    images[2].write_bytes(images[3].read_bytes()[:-200])
    images[4].write_text("no image")
    images[5].write_bytes(images[6].read_bytes())
    rows = [{"candidate": "stranger", "target": "dtr003", "captions": ["", "is red"]}]
    (root / "captions" / "cap.dress.train.json").write_text(json.dumps(rows))

    found = audit(Dataset(root))

    assert not found.complete
    assert found.missing == ("dtr000",)
    assert {i: reason.split(" is ")[1][:5] for i, reason in found.broken.items()} == {
        "dtr001": "empty",
        "dtr002": "damag",
        "dtr004": "no im",
    }
    assert found.duplicates == (("dtr005", "dtr006"),)
    assert [*found.unknown.values()] == [("stranger",)]
    train = next(count for count in found.splits if count.split == "train")
    assert (train.images, train.queries, train.empty_captions) == (8, 1, 1)


@pytest.mark.slow
def test_audit_of_a_sound_folder_is_complete(dataset: Dataset) -> None:
    found = audit(dataset, workers=2)
    assert found.complete
    assert found.images == 2 * 3 * 24


@pytest.mark.slow
@needs_fashioniq
def test_the_real_fashioniq_annotations_have_the_published_counts() -> None:
    found = audit(Dataset(FASHIONIQ), images=False)
    assert found.complete
    assert (found.images, found.images_in_queries) == (74_381, 37_725)
    assert found.in_several_categories["train"] == 1_180
    assert found.val_targets_seen_in_train == 143
    by_split = {s: [c for c in found.splits if c.split == s] for s in ("train", "val", "test")}
    assert sum(c.queries for c in by_split["train"]) == 18_000
    assert sum(c.queries for c in by_split["val"]) == 6_016
    assert sum(c.empty_captions for c in by_split["train"]) == 12
    assert sum(c.ambiguous for c in by_split["train"]) == 89
    assert [c.images for c in by_split["val"]] == [3_817, 6_346, 5_373]
    assert [c.in_queries for c in by_split["val"]] == [2_628, 3_089, 2_902]
    assert all(q.target_ids == () for q in Dataset(FASHIONIQ).queries("test"))
