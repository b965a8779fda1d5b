"""Files that stand for photos elsewhere: `images/photos.remote` names an address at `s3://`.

Such a file is a JSON object: `address`, below which the photos lie, and, where these go by other
names, `photos`: from each name to the path from the address. The path of such a photo leads through
its pointer, as `images/photos.remote/12.jpg`.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cir.data.remote import RemotePath, remote_path
from cir.disk.files import write_json
from cir.disk.reading import read_text
from cir.names import POINTER_SUFFIX


class Pointer(NamedTuple):
    """What a pointer says."""

    root: RemotePath
    photos: Mapping[str, str] | None
    """From names to paths from `root`; None where all below it go by their own names."""


def is_pointer(path: Path) -> bool:
    """Whether a path is that of a pointer, by its name and kind."""
    return path.suffix.lower() == POINTER_SUFFIX and path.is_file()


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Writes a pointer aside and moves it to `path`."""
    write_json(path, {"address": str(pointer.root), "photos": pointer.photos})


def read_pointer(path: Path) -> Pointer:
    """What the pointer at a path says.

    Raises:
        OSError: it is missing, or no pointer.
    """
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns)


def target(pointer: Path, photo: Path) -> RemotePath:
    """The object that the path of a photo through a pointer stands for.

    Raises:
        OSError: the pointer cannot be read, or knows no such photo.
    """
    root, photos = read_pointer(pointer)
    name = photo.relative_to(pointer).as_posix()
    if photos is None:
        return root / name
    if name not in photos:
        raise FileNotFoundError(f"{pointer} knows no {name}")
    return root / photos[name]


@cache
def _read(path: Path, size: int, changed: int) -> Pointer:
    """Reads a pointer; one of another size or time of change is read anew."""
    try:
        held = json.loads(read_text(path))
        root, photos = remote_path(held["address"]), held.get("photos")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        root, photos = None, None
    named = {} if photos is None else photos
    if root is None or not isinstance(named, dict) or not _are_texts(named):
        raise OSError(
            f'{path} is no pointer: expected {{"address": "s3://bucket/folder"}} and, where photos '
            f'go by other names, "photos" from each name to its path from there'
        )
    return Pointer(root, photos)


def _are_texts(named: Mapping[object, object]) -> bool:
    return all(isinstance(text, str) for pair in named.items() for text in pair)
