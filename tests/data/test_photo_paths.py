"""Paths that are kept as texts are paths whenever somebody asks."""

from pathlib import Path

from cir.data.image_files import list_images
from cir.data.photo_paths import PathsById, PathsOf

PATHS = PathsById({"a": "photos/a.jpg", "b": "photos/b/ü.png"})


def test_a_path_comes_by_its_id() -> None:
    assert dict(PATHS) == {"a": Path("photos/a.jpg"), "b": Path("photos/b/ü.png")}
    assert ("b" in PATHS, "c" in PATHS, len(PATHS)) == (True, False, 2)
    assert PATHS.get("c") is None


def test_paths_come_in_the_order_of_some_ids() -> None:
    chosen = PathsOf(("b", "a", "b"), PATHS)
    assert list(chosen) == [PATHS["b"], PATHS["a"], PATHS["b"]]
    assert list(chosen[1:]) == [PATHS["a"], PATHS["b"]]
    assert (chosen[-1], len(chosen)) == (PATHS["b"], 3)


def test_photos_are_listed_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "a-b/x.jpg", "a.jpg", "a b.jpg", "a/b/x.jpg", "A.jpg", "é.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = list_images([tmp_path])
    assert list(found.files) == sorted(found.files)
    assert len(found.paths) == 7
