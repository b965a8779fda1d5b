"""The image files of a dataset's folders, and what cannot be looked into."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cir.data.formats import IMAGE_SUFFIXES
from cir.data.pointers import is_pointer
from cir.data.shards import (
    is_shard,
    open_photo,
    outside_names,
    photo_state,
    photos_behind,
    photos_in,
    shard_of,
)
from cir.errors import DatasetError, printable, reason_of, some_of

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Listing:
    """Every image file that was found, and a line for each folder that was not looked into."""

    paths: tuple[str, ...]
    """Sorted as paths are, by their parts. What has an image's suffix is listed whatever it is:
    reading it says so."""
    faults: tuple[str, ...]

    @property
    def files(self) -> Iterator[Path]:
        """The same as paths, which take five times the memory of their texts."""
        return map(Path, self.paths)

    @cached_property
    def by_name(self) -> dict[str, Path]:
        """Files by their whole name."""
        return {file.name: file for file in self.files}

    @cached_property
    def by_folded_stem(self) -> dict[str, Path]:
        """Files by their name without suffix, in one case."""
        return {file.stem.casefold(): file for file in self.files}


def list_images(folders: Iterable[Path]) -> Listing:
    """Looks for image files in some folders and in the folders and tar shards that they hold.

    Links are followed, and so are pointers (`cir.data.pointers`).

    Raises:
        StorageError: what a pointer leads to cannot be listed.
    """
    paths: list[str] = []
    faults: list[str] = []
    for folder in folders:
        for found in _walk(folder, frozenset()):
            if isinstance(found, Path):
                paths.append(str(found))
            else:
                faults.append(found)
    return Listing(tuple(sorted(paths, key=_by_parts)), tuple(sorted(faults)))


def _by_parts(path: str) -> str:
    """What makes the texts of paths compare as paths do: no character comes before NUL."""
    return path.replace(os.sep, "\0")


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path | str]:
    """Image files, as paths, and faults, as lines; `above` identifies the folders around it."""
    try:
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            yield f"{folder} is a link to a folder around it: it is not followed"
            return
        with os.scandir(folder) as entries:
            held = sorted(entries, key=lambda entry: entry.name)
    except OSError as fault:
        yield f"cannot look into {folder}: {reason_of(fault)}"
        return
    for entry in held:
        if entry.name.lower().endswith(IMAGE_SUFFIXES):
            yield Path(entry.path)
        elif is_shard(Path(entry.path)):
            yield from _in_shard(Path(entry.path))
        elif is_pointer(Path(entry.path)):
            yield from _behind_pointer(Path(entry.path))
        elif _is_folder(entry):
            yield from _walk(Path(entry.path), above | {identity})


def _in_shard(shard: Path) -> Iterator[Path | str]:
    """As `_walk`, of a shard."""
    try:
        photos, outside = photos_in(shard), outside_names(shard)
    except OSError as fault:
        yield f"cannot look into {shard}: {reason_of(fault)}"
        return
    yield from (shard / photo for photo in photos)
    if outside:
        yield (
            f"{len(outside):,} names in {shard} lead out of it or are symbolic links: they are "
            f"passed over"
        )


def _behind_pointer(pointer: Path) -> Iterator[Path | str]:
    """As `_walk`, of a pointer."""
    try:
        photos = photos_behind(pointer)
    except OSError as fault:
        yield f"cannot look into {pointer}: {reason_of(fault)}"
        return
    yield from (pointer / photo for photo in photos)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def by_id(paths: Iterable[str], ids: Iterable[str]) -> dict[str, list[str]]:
    """Files by the id that they are of: their name without suffix, in any Unicode normal form.

    A name in another normal form than its id in the annotations is that id, as where a Mac packed
    the photos.

    Args:
        paths: Of image files.
        ids: Those of the annotations; other names are ids of their own.
    """
    named = [(Path(path).stem, path) for path in paths]
    aliases: Mapping[str, str] = {}
    if not all(name.isascii() for name, _ in named):
        aliases = {unicodedata.normalize("NFC", image_id): image_id for image_id in ids}
    found = defaultdict(list)
    for name, path in named:
        found[aliases.get(unicodedata.normalize("NFC", name), name)].append(path)
    return dict(found)


def require_one_each(paths_of: Mapping[str, Sequence[str]], ids: Collection[str]) -> None:
    """Raises DatasetError, naming the first, where one of `ids` has files whose bytes differ."""
    for image_id in ids:
        paths = paths_of.get(image_id, ())
        for other in paths[1:]:
            if not _same_bytes(Path(paths[0]), Path(other)):
                raise DatasetError(
                    f"the id {image_id!r} has several files, {paths[0]} and {other}, whose bytes "
                    f"differ: remove or rename all but one"
                )


def why_missing(image_id: str, folder: Path, listing: Listing) -> str:
    """Why an id has no file, looking at what is there.

    Args:
        image_id: Of the annotations.
        folder: Where its file is expected.
        listing: What is there.
    """
    reasons = [f"no file in {folder}"]
    if whole := listing.by_name.get(image_id):
        reasons.append(f"{whole} is there: write ids without their suffix")
    if folded := listing.by_folded_stem.get(image_id.casefold()):
        reasons.append(f"{folded} is there, in other letters")
    return printable("; ".join((*reasons, *listing.faults[:1])))


def outside_every_split(ids: Sequence[str]) -> str:
    """What to say of photos that no image split names."""
    return f"{len(ids):,} photos are in no split and not read: {some_of(ids)}"


def _same_bytes(one: Path, other: Path) -> bool:
    """Whether two files hold the same; what cannot be read is no copy."""
    try:
        if shard_of(one) is None and shard_of(other) is None and one.samefile(other):
            return True
        if photo_state(one)[0] != photo_state(other)[0]:
            return False
        with open_photo(one) as first, open_photo(other) as second:
            while chunk := first.read(_CHUNK):
                if chunk != second.read(_CHUNK):
                    return False
    except OSError:
        return False
    return True
