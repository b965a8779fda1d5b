"""How photos enter a dataset folder that is made from others' files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

from cir.data.shards import open_photo, photo_state, shard_of
from cir.disk.files import real, unreadable
from cir.errors import DatasetError, UsageError

Link = Literal["hardlink", "symlink", "copy"]
_CHUNK: Final = 1 << 20
"""Bytes that are copied at once."""


def require_link(link: str) -> None:
    """Raises UsageError where `link` is none of `Link`."""
    if link not in get_args(Link):
        raise UsageError(f"`link` is {link!r}; expected {', '.join(get_args(Link))}")


def link_or_copy(source: Path, copy: Path, link: str) -> None:
    """Makes `copy`; a hard link that the file system does not allow becomes a copy.

    So does a link of any kind to a photo in a shard, which has no file of its own. Where `source`
    is a link, what it leads to is linked. Nothing that stands at `copy` is written into: it may be
    a link to another's photo.

    Raises:
        DatasetError: the photo is gone or cannot be read, or its name is another's on this disk,
            which may take small letters and capitals for the same.
    """
    try:
        if shard_of(source):
            # Not resolved: where a shard is a link, what it leads to may be named as none.
            _copy_with_time(source, copy)
        else:
            _make(real(source), copy, link)
    except FileExistsError as fault:
        raise DatasetError(
            f"{copy.name} is the name of two photos on this disk, the second {source}: "
            f"give one of them another id, as by `prefixes` of cir data merge"
        ) from fault


def copy_bytes(source: Path, copy: Path) -> None:
    """Copies a file, or a photo in a shard, to where nothing is.

    Raises:
        DatasetError: it is gone or cannot be read.
        OSError: the copy cannot be written.
    """
    with _read_from(source):
        opened = open_photo(source)
    with opened as file, copy.open("xb") as written:
        while True:
            with _read_from(source):
                chunk = file.read(_CHUNK)
            if not chunk:
                return
            written.write(chunk)


def _make(source: Path, copy: Path, link: str) -> None:
    if link == "symlink":
        copy.symlink_to(source)
        return
    if link == "hardlink":
        try:
            os.link(source, copy)
        except FileExistsError:
            raise
        except OSError:
            _copy_with_time(source, copy)
        return
    _copy_with_time(source, copy)


def _copy_with_time(source: Path, copy: Path) -> None:
    """Copies a photo with its time of change, by which a later change is noticed."""
    copy_bytes(source, copy)
    with _read_from(source):
        _, changed = photo_state(source)
    os.utime(copy, ns=(changed, changed))


@contextmanager
def _read_from(source: Path) -> Iterator[None]:
    """Tells a failure to read as the photo's, not as one of what is written."""
    try:
        yield
    except FileNotFoundError as fault:
        raise DatasetError(f"{source} is gone: run cir data check") from fault
    except OSError as fault:
        raise DatasetError(unreadable(source, fault, "cannot be read: {}")) from fault
