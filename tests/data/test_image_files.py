"""The photos of a folder: every one by its id, and one line for each thing that is amiss."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.data.image_files import list_images
from cir.disk.files import read_json, write_json
from cir.errors import DatasetError
from tests.support.photos import encoded
from tests.support.worlds import small_dataset


@pytest.fixture
def world(tmp_path: Path) -> Dataset:
    """Four photos a split, that a test may change."""
    return small_dataset(tmp_path / "d", categories=("dress",), images=4, queries=1)


def add(dataset: Dataset, image_id: str) -> None:
    """Names one more photo in the train split."""
    file = dataset.split_file("dress", "train")
    file.write_text(json.dumps([*json.loads(file.read_text()), image_id]))


def test_links_in_a_circle_are_one_fault_and_no_hang(world: Dataset) -> None:
    images = world.root / "images"
    before = len(world.image_files)
    (images / "round").symlink_to(images)
    (images / "itself").symlink_to(images / "itself")
    found = list_images([images])
    assert found.faults == (f"{images}/round is a link to a folder around it: it is not followed",)
    assert len(found.paths) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_one_fault(world: Dataset) -> None:
    (world.root / "images" / "closed").mkdir(mode=0)
    assert "closed: Permission denied" in list_images([world.root / "images"]).faults[0]


def test_a_folder_that_the_system_refuses_is_one_fault(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = world.root / "images" / "closed"
    closed.mkdir()
    genuine = os.scandir

    def refusing(path: Path) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied")
        return genuine(path)

    monkeypatch.setattr(os, "scandir", refusing)
    add(world, "lost")
    (fault,) = audit(Dataset(world.root)).closed_folders
    assert fault.startswith(f"cannot look into {closed}: Permission denied")
    assert fault in Dataset(world.root).why_missing("lost")


def test_what_has_a_photos_name_is_the_photos_fault_when_read(world: Dataset) -> None:
    (world.root / "images" / "x.jpg").mkdir()
    os.mkfifo(world.root / "images" / "y.jpg")
    add(world, "x")
    add(world, "y")
    broken = audit(Dataset(world.root)).broken
    assert "Is a directory" in broken["x"]
    assert "it is a pipe" in broken["y"]


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_id_finds_its_file_in_another_unicode_normal_form(
    world: Dataset, ours: str, theirs: str
) -> None:
    image_id, name = (unicodedata.normalize(form, "Müller") for form in (ours, theirs))
    (world.root / "images" / f"{name}.jpg").write_bytes(encoded("JPEG"))
    add(world, image_id)
    made = Dataset(world.root)
    assert made.image_path(image_id).stem == name
    assert made.unlisted == ()


def test_two_files_of_one_id_are_refused_where_they_differ(world: Dataset) -> None:
    images = world.root / "images"
    (images / "dress").mkdir()
    (image_id,) = (i for i in world.image_ids() if i.endswith("tr000"))
    original = images / f"{image_id}.jpg"
    copy = images / "dress" / original.name
    copy.write_bytes(original.read_bytes())
    assert Dataset(world.root).image_path(image_id) in (original, copy)
    copy.write_bytes(encoded("JPEG"))
    with pytest.raises(DatasetError, match=f"'{image_id}' has several files, .*bytes differ"):
        audit(Dataset(world.root))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("a1.jpg", r"a1\.jpg is there: write ids without their suffix"),
        ("A1", r"a1\.jpg is there, in other letters"),
        ("a2", r"no file in .*images$"),
    ],
)
def test_a_missing_photo_is_told_by_what_is_there(world: Dataset, wanted: str, said: str) -> None:
    (world.root / "images" / "a1.jpg").write_bytes(encoded("JPEG"))
    with pytest.raises(DatasetError, match=said):
        world.image_path(wanted)


def test_photos_in_no_split_are_counted(world: Dataset) -> None:
    (world.root / "images" / "more.webp").write_bytes(encoded("WEBP"))
    found = audit(Dataset(world.root))
    assert found.unlisted == ("more",)
    assert found.complete


def test_paths_of_any_bytes_are_told_as_text(world: Dataset, tmp_path: Path) -> None:
    """A folder and a photo whose names are no UTF-8, on a file system that takes them."""
    root = tmp_path / os.fsdecode(b"odd\xff")
    try:
        world.root.rename(root)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (root / "images" / os.fsdecode(b"m\xe9.jpg")).write_bytes(b"x")
    odd = Dataset(root)
    broken, gone = odd.image_ids()[:2]
    odd.image_path(broken).write_bytes(b"no image")
    odd.image_path(gone).unlink()
    found = audit(Dataset(root))
    write_json(tmp_path / "found.json", found.to_json() | {"root": str(root)})
    kept = read_json(tmp_path / "found.json", DatasetError)
    assert kept["root"] == str(root)
    assert kept["unlisted"] == ["m\\udce9"]
    assert "odd\\udcff" in kept["broken"][broken]
    assert "odd\\udcff" in Dataset(root).why_missing(gone)


def test_a_pipe_in_the_place_of_annotations_makes_nobody_wait(world: Dataset) -> None:
    for file in (world.captions_file("dress", "train"), world.split_file("dress", "train")):
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(DatasetError, match="it is a pipe; expected a file"):
            Dataset(world.root).require_sound()
