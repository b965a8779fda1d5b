"""The photos of a folder and of every folder below it.

A photo's id is its path without the ending, folders joined by two underscores: `shoes/12.jpg` is
`shoes__12`, and `12.jpg` is `12`. It depends on nothing else in the folder. A tar shard stands for
what it holds, as if it had been unpacked where it lies.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

from cir.data.formats import IMAGE_SUFFIXES
from cir.data.remote import objects_below, remote_path
from cir.data.shards import is_shard, outside_names, photos_in
from cir.disk.files import require_folder, unreadable
from cir.errors import DatasetError

JOINER: Final = "__"
"""Stands in ids where a path has a slash."""
_LONGEST_ID: Final = 200
"""Bytes of an id; file systems take 255 with the ending."""
_HIDDEN: Final = ("__MACOSX", "@eaDir")
"""Folders in which archivers and storage servers keep copies of their own."""
_NAMED: Final = 4
"""Kinds of other files that an error names."""


@dataclass(frozen=True)
class PhotoFolder:
    """What a folder and the folders below it hold."""

    root: Path
    photos: tuple[PurePosixPath, ...]
    """Paths from `root`, sorted, each with an id of its own."""
    same_id: tuple[str, ...]
    """Paths of photos whose id an earlier path has; they are passed over."""
    hidden: tuple[str, ...]
    """Paths of photos that are hidden, or lie in a hidden folder; they are passed over."""
    others: Counter[str]
    """Endings of the files that are no photos, with their numbers."""
    in_shards: Mapping[PurePosixPath, PurePosixPath] = field(default_factory=dict)
    """Paths from `root` through their shards, of the photos that are in one."""
    outside_shards: tuple[str, ...] = ()
    """Paths from `root` of names in shards that lead out of these or are links."""

    def file(self, photo: PurePosixPath) -> Path:
        """The file at a path from `root`."""
        return self.root / self.in_shards.get(photo, photo)


def read_photo_folder(root: Path) -> PhotoFolder:
    """Finds every photo; links to folders are followed, each folder once.

    Args:
        root: The folder, or an address at `s3://`.

    Raises:
        DatasetError: there is no such folder, it holds no photo, or a folder or a shard cannot be
            listed.
        StorageError: what lies at `s3://` cannot be listed.
    """
    remote = remote_path(root)
    if remote is None:
        require_folder(
            root,
            DatasetError,
            f"no folder of photos at {root}: expected .jpg, .png or other photos there",
        )
        found = sorted(_files(root))
    else:
        root, found = remote, objects_below(remote)
    shards = [path for path in found if is_shard(root / path) and not _is_hidden(path)]
    files, in_shards, repeated = _with_shards(root, found, shards)
    seen = [path for path in files if not _is_hidden(path)]
    photos = [path for path in seen if is_photo(path.name)]
    others = Counter(_ending(path) for path in seen if not is_photo(path.name))
    if not photos:
        raise DatasetError(_no_photos(root, others))
    first: dict[str, PurePosixPath] = {}
    for path in photos:
        first.setdefault(photo_id(path), path)
    return PhotoFolder(
        root=root,
        photos=tuple(first.values()),
        same_id=tuple(
            shown(path) for path in (*repeated, *(p for p in photos if first[photo_id(p)] != p))
        ),
        hidden=tuple(shown(p) for p in files if _is_hidden(p) and is_photo(p.name)),
        others=others,
        in_shards=in_shards,
        outside_shards=tuple(
            shown(shard / name) for shard in shards for name in _listed(root / shard, outside_names)
        ),
    )


def photo_id(path: PurePosixPath) -> str:
    """The id of the photo at a path from the folder of photos, in Unicode's composed form."""
    text = composed(JOINER.join((*path.parts[:-1], without_ending(path.name))))
    encoded = text.encode("utf-8")
    if len(encoded) <= _LONGEST_ID:
        return text
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: _LONGEST_ID - 17].decode('utf-8', 'ignore')}-{digest}"


def is_photo(name: str) -> bool:
    """Whether a file's name ends as a photo's does."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def without_ending(name: str) -> str:
    """A photo's name without `.jpg` and the like; other names stay."""
    ending = next((end for end in IMAGE_SUFFIXES if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)] or name


def composed(text: str) -> str:
    """A name in Unicode's composed form; bytes that are no UTF-8 become backslash escapes."""
    decoded = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", decoded)


def shown(path: PurePosixPath) -> str:
    """A path as text that can be printed and written."""
    return composed(str(path))


def _files(root: Path) -> Iterator[PurePosixPath]:
    """Paths from `root` of all files."""
    entered = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, onerror=_refused, followlinks=True):
        below = {name: os.path.realpath(Path(folder, name)) for name in sorted(folders)}
        folders[:] = [name for name, real in below.items() if real not in entered]
        entered.update(below[name] for name in folders)
        yield from (PurePosixPath(Path(folder, name).relative_to(root)) for name in names)


def _with_shards(
    root: Path, files: Sequence[PurePosixPath], shards: Sequence[PurePosixPath]
) -> tuple[list[PurePosixPath], dict[PurePosixPath, PurePosixPath], list[PurePosixPath]]:
    """All files, shards being replaced by what they hold; where that is; and what comes again."""
    known, held, repeated = set(files) - set(shards), {}, []
    for shard in shards:
        for name in _listed(root / shard, photos_in):
            path = shard.parent / name
            if path in known:
                repeated.append(shard / name)
            else:
                known.add(path)
                held[path] = shard / name
    return sorted(known), held, repeated


def _listed(shard: Path, names: Callable[[Path], Sequence[str]]) -> Sequence[str]:
    try:
        return names(shard)
    except OSError as error:
        _refused(error, shard)


def _refused(error: OSError, path: Path | None = None) -> NoReturn:
    raise DatasetError(
        unreadable(path or Path(error.filename), error, "cannot be listed: {}")
    ) from error


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in _HIDDEN for part in path.parts)


def _ending(path: PurePosixPath) -> str:
    """A file's suffix, or the name of one without; quoted where it cannot be printed."""
    ending = path.suffix.lower() or path.name
    return ending if ending.isprintable() else repr(ending)


def _no_photos(root: Path, others: Counter[str]) -> str:
    kinds = [f"{count:,} {ending}" for ending, count in others.most_common(_NAMED)]
    held = f"of other files it holds {', '.join(kinds)}" if kinds else "it holds no files"
    return (
        f"{root} and the folders below it hold no photos: expected files that end in "
        f"{', '.join(IMAGE_SUFFIXES)}; {held}"
    )
