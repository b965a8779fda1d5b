"""Photos are found in folders and by what a catalogue calls them."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from cir.errors import DatasetError
from cir.sources.photo_folder import PhotoFolder, photo_id, read_photo_folder
from cir.sources.photo_index import PhotoIndex


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_photos_of_all_folders_are_found_and_others_are_counted(tmp_path: Path) -> None:
    root = touched(tmp_path, "1.jpg", "a/1.PNG", "a/b/2.jpeg", "notes.txt", "a/x.heic", "a/y.heic")
    folder = read_photo_folder(root)
    assert [str(path) for path in folder.photos] == ["1.jpg", "a/1.PNG", "a/b/2.jpeg"]
    assert folder.others == {".heic": 2, ".txt": 1}


def test_what_is_hidden_or_has_an_id_twice_is_named(tmp_path: Path) -> None:
    root = touched(tmp_path, "1.jpg", "1.png", ".2.jpg", ".trash/3.jpg", "__MACOSX/4.jpg")
    folder = read_photo_folder(root)
    assert folder.same_id == ("1.png",)
    assert sorted(folder.hidden) == [".2.jpg", ".trash/3.jpg", "__MACOSX/4.jpg"]


def test_links_that_lead_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    touched(tmp_path / "photos", "a/1.jpg")
    touched(tmp_path / "elsewhere", "2.jpg")
    (tmp_path / "photos/a/up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/b").symlink_to(tmp_path / "elsewhere")
    found = read_photo_folder(tmp_path / "photos").photos
    assert [str(path) for path in found] == ["a/1.jpg", "b/2.jpg"]


def test_a_folder_without_photos_says_what_it_holds(tmp_path: Path) -> None:
    touched(tmp_path, "a/1.heic", "a/2.heic", "b.svg")
    with pytest.raises(DatasetError, match=r"hold no photos: .*\.jpg.* holds 2 \.heic, 1 \.svg"):
        read_photo_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"b\.svg is a file; expected a folder"):
        read_photo_folder(tmp_path / "b.svg")


def test_an_ending_that_cannot_be_printed_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "odd.\n").touch()
    with pytest.raises(DatasetError, match=r"it holds 1 '\.\\n'$"):
        read_photo_folder(tmp_path)


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("12.jpg", "12"),
        ("shoes/12.JPG", "shoes__12"),
        ("men/shoes/v1.2.png", "men__shoes__v1.2"),
        ("cafe\u0301.jpg", "caf\u00e9"),
        ("caf\udce9.jpg", "caf\\xe9"),
    ],
)
def test_an_id_is_the_path_without_its_ending(path: str, identity: str) -> None:
    assert photo_id(PurePosixPath(path)) == identity


def test_long_paths_have_short_ids_of_their_own() -> None:
    deep = "/".join(["folder"] * 60)
    first, second = (photo_id(PurePosixPath(f"{deep}/{n}.jpg")) for n in (1, 2))
    assert first != second
    assert max(len(first), len(second)) <= 200


@pytest.fixture(scope="module")
def index() -> PhotoIndex:
    photos = (
        "12.jpg",
        "bags/7.png",
        "bags/b c.jpg",
        "shoes/7.jpg",
        "shoes/0042.jpg",
        "caf\u00e9.jpg",
    )
    paths = tuple(PurePosixPath(photo) for photo in photos)
    return PhotoIndex(PhotoFolder(Path("photos"), paths, (), (), Counter()))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("12", ["12.jpg"]),
        ("12.jpg", ["12.jpg"]),
        ("12.JPG", ["12.jpg"]),
        ("12.0", ["12.jpg"]),
        ("./photos/12.jpg", ["12.jpg"]),
        ("C:\\data\\photos\\12.jpg", ["12.jpg"]),
        ("https://shop.example/img/12.jpg?w=200", ["12.jpg"]),
        ("https://shop.example/img/0042.jpg", ["shoes/0042.jpg"]),
        ("b c", ["bags/b c.jpg"]),
        ("42", ["shoes/0042.jpg"]),
        ("bags/7", ["bags/7.png"]),
        ("photos/bags/7.png", ["bags/7.png"]),
        ("7", ["bags/7.png", "shoes/7.jpg"]),
        ("hats/7", []),
        ("cafe\u0301", ["caf\u00e9.jpg"]),
        ("1", []),
        ("", []),
        ("../..", []),
    ],
)
def test_a_catalogue_may_call_a_photo_by_id_name_path_or_address(
    index: PhotoIndex, value: str, found: list[str]
) -> None:
    assert [str(path) for path in index.find(value)] == found


def test_a_plain_value_is_the_id_and_a_path_gives_the_paths(index: PhotoIndex) -> None:
    assert index.id_of("42", PurePosixPath("shoes/0042.jpg")) == "0042"
    assert index.id_of("shoes/7.jpg", PurePosixPath("shoes/7.jpg")) == "shoes__7"


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may read every folder")
    touched(tmp_path, "1.jpg", "shut/2.jpg")
    (tmp_path / "shut").chmod(0)
    try:
        with pytest.raises(DatasetError, match="shut"):
            read_photo_folder(tmp_path)
    finally:
        (tmp_path / "shut").chmod(0o700)
