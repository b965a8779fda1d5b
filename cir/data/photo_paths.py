"""The paths of many photos, kept as texts: as objects they would take five times the memory."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload


class PathsById(Mapping[str, Path]):
    """The path of each id."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, image_id: str) -> Path:
        return Path(self._texts[image_id])

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class PathsOf(Sequence[Path]):
    """The paths of some ids, in their order."""

    def __init__(self, ids: Sequence[str], paths: Mapping[str, Path]) -> None:
        self._ids, self._paths = ids, paths

    @overload
    def __getitem__(self, place: int) -> Path: ...

    @overload
    def __getitem__(self, place: slice) -> "PathsOf": ...

    def __getitem__(self, place: int | slice) -> "Path | PathsOf":
        if isinstance(place, slice):
            return PathsOf(self._ids[place], self._paths)
        return self._paths[self._ids[place]]

    def __len__(self) -> int:
        return len(self._ids)
