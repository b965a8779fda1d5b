"""How photos enter a dataset folder, and what they never do there."""

import os
from pathlib import Path
from typing import get_args

import pytest

from cir.errors import DatasetError
from cir.sources.links import Link, link_or_copy
from tests.support.shards import pack


@pytest.mark.parametrize("link", get_args(Link))
def test_what_stands_there_is_never_written_into(tmp_path: Path, link: str) -> None:
    """As on a disk that takes IMG_1.jpg and img_1.jpg for one name."""
    first, second, copy = (tmp_path / name for name in ("first.jpg", "second.jpg", "copy.jpg"))
    first.write_bytes(b"the first")
    second.write_bytes(b"the second")
    link_or_copy(first, copy, link)
    with pytest.raises(DatasetError, match=r"copy.jpg is the name of two photos .*second.jpg"):
        link_or_copy(second, copy, link)
    assert (first.read_bytes(), copy.read_bytes()) == (b"the first", b"the first")


def test_a_disk_without_hard_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    photo, copy = tmp_path / "photo.jpg", tmp_path / "copy.jpg"
    photo.write_bytes(b"bytes")
    os.utime(photo, ns=(1, 2))
    link_or_copy(photo, copy, "hardlink")
    assert copy.read_bytes() == b"bytes"
    assert copy.stat().st_mtime_ns == photo.stat().st_mtime_ns
    assert not copy.samefile(photo)


@pytest.mark.parametrize("link", ["hardlink", "copy"])
def test_a_photo_that_is_gone_is_named(tmp_path: Path, link: str) -> None:
    with pytest.raises(DatasetError, match=r"gone.jpg is gone: run cir data check"):
        link_or_copy(tmp_path / "gone.jpg", tmp_path / "copy.jpg", link)


@pytest.mark.parametrize("link", get_args(Link))
def test_a_photo_in_a_shard_that_is_a_link_is_copied(tmp_path: Path, link: str) -> None:
    """What it leads to is no shard by its name, as in the caches of DVC and Hugging Face."""
    pack(tmp_path / "packed.tar", {"1.jpg": b"one"}).rename(tmp_path / "5f3c0de")
    (tmp_path / "a.tar").symlink_to("5f3c0de")
    link_or_copy(tmp_path / "a.tar" / "1.jpg", tmp_path / "copy.jpg", link)
    assert (tmp_path / "copy.jpg").read_bytes() == b"one"


def test_what_a_link_leads_to_is_linked(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"bytes")
    (tmp_path / "photo.jpg").symlink_to("photo")
    link_or_copy(tmp_path / "photo.jpg", tmp_path / "hard.jpg", "hardlink")
    link_or_copy(tmp_path / "photo.jpg", tmp_path / "soft.jpg", "symlink")
    assert not (tmp_path / "hard.jpg").is_symlink()
    assert (tmp_path / "hard.jpg").samefile(tmp_path / "photo")
    assert (tmp_path / "soft.jpg").readlink() == tmp_path / "photo"


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """And not the folder that is written."""
    (tmp_path / "folder.jpg").mkdir()
    shard = pack(tmp_path / "a.tar", {"1.jpg": b"one"})
    with pytest.raises(DatasetError, match=r"^cannot read .*folder\.jpg: Is a directory"):
        link_or_copy(tmp_path / "folder.jpg", tmp_path / "copy.jpg", "copy")
    with pytest.raises(DatasetError, match=r"a\.tar/2\.jpg is gone: run cir data check"):
        link_or_copy(shard / "2.jpg", tmp_path / "copy.jpg", "copy")
