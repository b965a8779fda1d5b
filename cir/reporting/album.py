"""The photos of a page, each embedded once however often it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cir.data.dataset import Dataset
from cir.errors import DatasetError, without_middle
from cir.reporting.pictures import DataUris
from cir.sources.annotations import read_records

_LETTERS: Final = 16
"""Characters of an id that are shown; a longer one loses its middle."""


@dataclass(frozen=True)
class Photo:
    """An image as a page shows it, and what is said under it."""

    image_id: str
    title: str = ""
    """The product's, where the dataset has one."""
    key: str | None = None
    """Names its picture in the page; None where the file is gone, or where ids alone are known."""
    uri: str | None = None
    """The picture, where it is shown first; elsewhere the page copies it from there."""
    note: str = ""
    hit: bool = False
    """Whether it is a target of the query it is shown for."""
    kind: str = ""
    """Of a negative: hard, semi-hard or easy."""
    scope: str = ""
    """Of a negative: the part of the gallery that it was drawn from."""
    mark: str = ""
    """Of a negative between two manifests: kept, gone or new."""

    @property
    def short(self) -> str:
        """Its id, without the middle of a long one."""
        return shortened(self.image_id)

    @property
    def said(self) -> str:
        """Its title, or its id where it has none."""
        return self.title or self.image_id


class Album:
    """Hands out the photos of a dataset; a picture is given with the first that shows it."""

    def __init__(self, dataset: Dataset | None) -> None:
        """Opens an empty album.

        Args:
            dataset: Whose photos are shown; None where only ids are known.
        """
        self._pictures = DataUris(dataset) if dataset else None
        self._titles = titles(dataset) if dataset else {}
        self._keys: dict[str, str] = {}
        self._ids: set[str] = set()
        self._missing: set[str] = set()

    def photo(
        self,
        image_id: str,
        *,
        note: str = "",
        hit: bool = False,
        kind: str = "",
        scope: str = "",
        mark: str = "",
    ) -> Photo:
        """A photo of the dataset, with what is said of it."""
        self._ids.add(image_id)
        uri = self._pictures.uri(image_id) if self._pictures else None
        if uri is None:
            self._missing.add(image_id)
        new = uri is not None and uri not in self._keys
        key = self._keys.setdefault(uri, f"p{len(self._keys)}") if uri else None
        return Photo(
            image_id,
            self._titles.get(image_id, ""),
            key,
            uri if new else None,
            note,
            hit,
            kind,
            scope,
            mark,
        )

    def __len__(self) -> int:
        """Pictures that were handed out; equal photos have one."""
        return len(self._keys)

    @property
    def note(self) -> str | None:
        """What a reader should know of photos that are not shown; None where all are shown."""
        if self._pictures is None:
            return "Photos are left out, ids stand for them: showing them takes the dataset."
        if not self._missing:
            return None
        first = min(self._missing)
        return (
            f"{len(self._missing):,} of {len(self._ids):,} photos are missing or broken, their "
            f"ids stand for them; the first is {first}."
        )


def titles(dataset: Dataset) -> Mapping[str, str]:
    """Image id to title, of a dataset that was made with titles; empty of another."""
    try:
        records = read_records(dataset.root, dataset.splits)
    except DatasetError:
        return {}
    return {image_id: record.title for image_id, record in records.items()}


def shortened(text: str) -> str:
    """A text without its middle, where a page has no room for that."""
    return without_middle(text, _LETTERS)
