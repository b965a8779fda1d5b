"""What stands in a folder, recorded: each path at whatever depth, and what tells its content.

Links are not followed: who removes the folder removes the link, and nothing that it leads to.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = "folder"
LINK: Final = "link"
"""What is recorded of a folder and of a link; of a file it is a digest."""
_BEGINNING: Final = 1 << 16
"""Bytes of a file that are compared, beside its size: large photos are not read whole."""
_BYTES: Final = 6
"""Of a digest."""


def entries(folder: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What a folder of a folder holds, each with its path from the outer one on, sorted."""
    with os.scandir(folder / below) as held:
        for entry in sorted(held, key=lambda entry: entry.name):
            yield f"{below}{entry.name}", entry


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, and no link to one."""
    return entry.is_dir(follow_symlinks=False)


def contents(folder: Path, below: str = "") -> dict[str, str]:
    """Every path inside of a folder, with what tells its content."""
    found: dict[str, str] = {}
    for path, entry in entries(folder, below):
        found[path] = _mark(entry)
        if is_folder(entry):
            found |= contents(folder, f"{path}/")
    return found


def is_as_recorded(entry: os.DirEntry[str], path: str, record: Mapping[str, str]) -> bool:
    """Whether a path was recorded, and nothing would be lost with it that came since.

    A link in the place of a file holds nothing itself. A photo that was changed under another name,
    by a hard link, stays there.
    """
    if path not in record:
        return False
    if entry.is_symlink():
        return True
    if record[path] in (FOLDER, LINK) or is_folder(entry):
        return record[path] == FOLDER and is_folder(entry)
    return entry.stat(follow_symlinks=False).st_nlink > 1 or record[path] == _mark(entry)


def _mark(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return LINK
    return FOLDER if is_folder(entry) else _digest(Path(entry.path))


def _digest(file: Path) -> str:
    """Of a file's size and beginning; one that cannot be read has none."""
    try:
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode):
            return ""
        with file.open("rb") as opened:
            beginning = opened.read(_BEGINNING)
    except OSError:
        return ""
    digest = hashlib.blake2b(b"%d/" % found.st_size, digest_size=_BYTES)
    digest.update(beginning)
    return digest.hexdigest()
