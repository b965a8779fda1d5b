"""How photos enter a dataset folder, and what they never do there."""

import os
from pathlib import Path
from typing import get_args

import pytest

from cir.errors import DatasetError
from cir.sources.links import Link, link_or_copy


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
