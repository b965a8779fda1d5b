"""Photos in tar files, as WebDataset lays them out: read where they are, never unpacked.

The path of such a photo leads through its shard, as `images/shoes-0000.tar/12.jpg`. A shard's
names are read once, without the photos between them; a photo is then read from its place. Photos
and shards at `s3://` (`cir.data.remote`) are read likewise, also through pointers
(`cir.data.pointers`).
"""

import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from cir.data.formats import IMAGE_SUFFIXES, MOST_BYTES
from cir.data.pointers import is_pointer, read_pointer, target
from cir.data.remote import (
    RemotePath,
    in_memory,
    objects_below,
    open_remote,
    remote_bytes,
    remote_state,
)
from cir.disk.reading import opened

SHARD_SUFFIX: Final = ".tar"
"""Ending of a shard's name, in any case; compressed ones are not read."""


class _Place(NamedTuple):
    """Where a photo stands in its shard, in bytes."""

    start: int
    size: int


class _Index(NamedTuple):
    """The photos of a shard by their names within it, and the names of what is no photo of it."""

    places: Mapping[str, _Place]
    outside: tuple[str, ...]


def is_shard(path: Path) -> bool:
    """Whether a path is that of a shard, by its name and kind."""
    named = path.suffix.lower() == SHARD_SUFFIX
    return named and (isinstance(path, RemotePath) or path.is_file())


def shard_of(path: Path) -> Path | None:
    """The shard or the pointer that a path leads into; None where it leads into none."""
    return next((each for each in path.parents if is_shard(each) or is_pointer(each)), None)


def real_photo(path: Path) -> Path:
    """The path of a photo without the pointer that it may lead through.

    Raises:
        OSError: the pointer knows no such photo, or cannot be read.
    """
    pointer = None if isinstance(path, RemotePath) else next(filter(is_pointer, path.parents), None)
    return path if pointer is None else target(pointer, path)


def photos_behind(pointer: Path) -> list[str]:
    """The names of a pointer's photos, sorted; those in shards lead through them.

    Raises:
        OSError: it is no pointer, or a shard that it leads to is no tar file.
        StorageError: what it leads to cannot be listed.
    """
    root, photos = read_pointer(pointer)
    if is_shard(root):
        return sorted(photos_in(root) if photos is None else photos)
    if photos is not None:
        objects_below(root)  # one listing tells the states of all
        return sorted(photos)
    return sorted(_below(root))


def _below(root: RemotePath) -> Iterator[str]:
    """Paths from an address of the photos below it, those in shards through these."""
    for path in objects_below(root):
        if path.name.lower().endswith(IMAGE_SUFFIXES):
            yield str(path)
        elif is_shard(root / path):
            yield from (f"{path}/{photo}" for photo in photos_in(root / path))


def photos_in(shard: Path) -> list[str]:
    """The names of a shard's photos within it, in the order in which they stand.

    Raises:
        OSError: it cannot be read, or is no tar file.
    """
    return list(_indexed(shard).places)


def outside_names(shard: Path) -> tuple[str, ...]:
    """The names in a shard that are named as photos and are none of it.

    Such names lead out of it, or are symbolic links, or hard links to what is not in it.

    Raises:
        OSError: it cannot be read, or is no tar file.
    """
    return _indexed(shard).outside


def open_photo(path: Path) -> BufferedReader:
    """Opens a photo for reading, a file of its own or one in a shard.

    Raises:
        OSError: it is missing, refused by the system, or no regular file.
        StorageError: it lies at `s3://`, and the storage cannot be reached or refuses.
    """
    if isinstance(path, RemotePath):
        return _open_remote_photo(path)
    try:
        return opened(path)
    except NotADirectoryError:
        shard = shard_of(path)
        if shard is None:
            raise
    if is_pointer(shard):
        return _open_remote_photo(target(shard, path))
    place = _place(path, shard)
    return BufferedReader(_Window(opened(shard), place))


def photo_state(path: Path) -> tuple[int, int]:
    """Size in bytes of a photo, and time of change in nanoseconds of its file or its shard.

    Raises:
        OSError: it is missing, or refused by the system.
        StorageError: it lies at `s3://`, and the storage does not tell.
    """
    if isinstance(path, RemotePath):
        shard = shard_of(path)
        return remote_state(path) if shard is None else _state_within(path, shard)
    try:
        return _file_state(path)
    except NotADirectoryError:
        shard = shard_of(path)
        if shard is None:
            raise
    return photo_state(target(shard, path)) if is_pointer(shard) else _state_within(path, shard)


def _state_within(photo: Path, shard: Path) -> tuple[int, int]:
    return _place(photo, shard).size, _file_state(shard)[1]


def _open_remote_photo(path: RemotePath) -> BufferedReader:
    """A photo's bytes, which are read at once: a request a photo.

    Of one that is too large to be read, so many that this is seen.
    """
    shard = shard_of(path)
    if not isinstance(shard, RemotePath):
        return in_memory(remote_bytes(path, 0, MOST_BYTES + 1))
    start, size = _place(path, shard)
    return in_memory(remote_bytes(shard, start, min(size, MOST_BYTES + 1)))


def _file_state(file: Path) -> tuple[int, int]:
    """Size and time of change of a file or an object."""
    if isinstance(file, RemotePath):
        return remote_state(file)
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _place(path: Path, shard: Path) -> _Place:
    name = path.relative_to(shard).as_posix()
    try:
        return _indexed(shard).places[name]
    except KeyError:
        raise FileNotFoundError(f"{shard} holds no {name}") from None


def _indexed(shard: Path) -> _Index:
    return _read_index(shard, *_file_state(shard))


@cache
def _read_index(shard: Path, size: int, changed: int) -> _Index:
    """Reads the names of a shard; one of another size or time of change is read anew."""
    files: dict[PurePosixPath, _Place] = {}
    places, outside = {}, []
    for member in _members(shard):
        name = PurePosixPath(member.name)
        place = _place_of(member, files)
        if place is not None:
            files[name] = place
        if not member.name.lower().endswith(IMAGE_SUFFIXES):
            continue
        if place is None or name.is_absolute() or ".." in name.parts:
            outside.append(member.name)
        else:
            places[name.as_posix()] = place
    return _Index(places, tuple(outside))


def _place_of(member: tarfile.TarInfo, files: Mapping[PurePosixPath, _Place]) -> _Place | None:
    """Where a member's bytes are; a hard link's are those of the file before it that it names."""
    if member.islnk():
        return files.get(PurePosixPath(member.linkname))
    return _Place(member.offset_data, member.size) if member.isreg() else None


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """The files and links of a shard."""
    try:
        with _opened_shard(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() or member.islnk() or member.issym():
                    yield member
    except tarfile.TarError as fault:
        raise OSError(f"{shard} is damaged or no uncompressed tar file ({fault})") from fault


def _opened_shard(shard: Path) -> BufferedReader:
    return open_remote(shard) if isinstance(shard, RemotePath) else opened(shard)


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
