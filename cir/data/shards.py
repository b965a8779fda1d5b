"""Photos in tar files, as WebDataset lays them out: read where they are, never unpacked.

The path of such a photo leads through its shard, as `images/shoes-0000.tar/12.jpg`. A shard's
names are read once, without the photos between them; a photo is then read from its place.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from cir.data.formats import IMAGE_SUFFIXES
from cir.reading import opened

SHARD_SUFFIX: Final = ".tar"
"""Ending of a shard's name, in any case; compressed ones are not read."""


class _Place(NamedTuple):
    """Where a photo stands in its shard, in bytes."""

    start: int
    size: int


class _Index(NamedTuple):
    """The photos of a shard by their names within it, and how many names lead out of it."""

    places: Mapping[str, _Place]
    outside: int


def is_shard(path: Path) -> bool:
    """Whether a path is that of a shard, by its name and kind."""
    return path.suffix.lower() == SHARD_SUFFIX and path.is_file()


def shard_of(path: Path) -> Path | None:
    """The shard that a path leads into; None where it leads into none."""
    return next(filter(is_shard, path.parents), None)


def photos_in(shard: Path) -> list[str]:
    """The names of a shard's photos within it, in the order in which they stand.

    Raises:
        OSError: it cannot be read, or is no tar file.
    """
    return list(_indexed(shard).places)


def outside_names(shard: Path) -> int:
    """How many photos of a shard have names that lead out of it; they are no photos of it.

    Raises:
        OSError: it cannot be read, or is no tar file.
    """
    return _indexed(shard).outside


def open_photo(path: Path) -> BufferedReader:
    """Opens a photo for reading, a file of its own or one in a shard.

    Raises:
        OSError: it is missing, refused by the system, or no regular file.
    """
    try:
        return opened(path)
    except NotADirectoryError:
        shard = shard_of(path)
        if shard is None:
            raise
    place = _place(path, shard)
    return BufferedReader(_Window(opened(shard), place))


def photo_state(path: Path) -> tuple[int, int]:
    """Size in bytes of a photo, and time of change in nanoseconds of its file or its shard.

    Raises:
        OSError: it is missing, or refused by the system.
    """
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except NotADirectoryError:
        shard = shard_of(path)
        if shard is None:
            raise
    return _place(path, shard).size, shard.stat().st_mtime_ns


def _place(path: Path, shard: Path) -> _Place:
    name = path.relative_to(shard).as_posix()
    try:
        return _indexed(shard).places[name]
    except KeyError:
        raise FileNotFoundError(f"{shard} holds no {name}") from None


def _indexed(shard: Path) -> _Index:
    status = shard.stat()
    return _read_index(shard, status.st_size, status.st_mtime_ns)


@cache
def _read_index(shard: Path, size: int, changed: int) -> _Index:
    """Reads the names of a shard; one of another size or time of change is read anew."""
    places, outside = {}, 0
    for member in _members(shard):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            outside += 1
        else:
            places[name.as_posix()] = _Place(member.offset_data, member.size)
    return _Index(places, outside)


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """The regular files of a shard that are named as photos."""
    try:
        with opened(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() and member.name.lower().endswith(IMAGE_SUFFIXES):
                    yield member
    except tarfile.TarError as fault:
        raise OSError(f"{shard} is damaged or no uncompressed tar file ({fault})") from fault


class _Window(io.RawIOBase):
    """Some bytes of an open file, which is closed with it."""

    def __init__(self, file: BufferedReader, place: _Place) -> None:
        self._file, self._left = file, place.size
        file.seek(place.start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()
