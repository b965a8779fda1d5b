"""The photos of a folder by what a catalogue may call them.

An id, a file name, a path from any folder above, or an address, with or without the ending. Numbers
are also found as spreadsheets leave them: `00123` as 123, `123` as 123.0.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from cir.sources.photo_folder import PhotoFolder, composed, photo_id, without_ending

_ADDRESS: Final = re.compile(r"[a-z]+://", re.IGNORECASE)
_WHOLE: Final = re.compile(r"0*(\d+)(?:\.0+)?", re.ASCII)


class PhotoIndex:
    """Looks photos up by the values of a catalogue's column."""

    def __init__(self, folder: PhotoFolder) -> None:
        """Indexes paths, names and numbers."""
        self.names = tuple(composed(str(photo)) for photo in folder.photos)
        self._by_path: dict[str, PurePosixPath] = {}
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._by_number: dict[str, list[PurePosixPath]] = defaultdict(list)
        for photo in folder.photos:
            whole = composed(str(photo))
            name = composed(photo.name)
            self._by_path.setdefault(whole, photo)
            self._by_path.setdefault(without_ending(whole), photo)
            for known in dict.fromkeys((name, without_ending(name))):
                self._by_name[known].append(photo)
            if number := _WHOLE.fullmatch(without_ending(name)):
                self._by_number[number[1]].append(photo)

    def find(self, value: str) -> Sequence[PurePosixPath]:
        """The photos that a value may mean: one where it is clear, none where there is none."""
        parts = _parts(value)
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            photo = self._by_path.get(tail) or self._by_path.get(without_ending(tail))
            if photo is not None:
                return (photo,)
        if len(parts) == 1 or (parts and _ADDRESS.match(value)):
            return self._by_its_name(parts[-1])
        return ()

    def id_of(self, value: str, photo: PurePosixPath) -> str:
        """The id that a photo gets: a plain value's own, or that of its path."""
        is_plain = len(_parts(value)) == 1 and not _ADDRESS.match(value)
        return photo_id(PurePosixPath(photo.name) if is_plain else photo)

    def _by_its_name(self, name: str) -> Sequence[PurePosixPath]:
        named = self._by_name.get(name) or self._by_name.get(without_ending(name))
        if named:
            return named
        number = _WHOLE.fullmatch(without_ending(name))
        return self._by_number.get(number[1], ()) if number else ()


def _parts(value: str) -> list[str]:
    """The folders and the name of a path, Windows' slashes and a query of an address removed."""
    text = value.replace("\\", "/")
    text = re.split(r"[?#]", text)[0] if _ADDRESS.match(text) else text
    return [composed(part) for part in text.split("/") if part.strip(". ")]
