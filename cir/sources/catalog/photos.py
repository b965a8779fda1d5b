"""The photos of a catalogue: each has a row of the CSV, an image file, and attributes."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from cir.errors import DatasetError
from cir.sources.catalog.column_content import is_stated
from cir.sources.catalog.column_guess import CatalogColumns
from cir.sources.catalog.facets import facet_of, facet_value, read_facets
from cir.sources.catalog.rows import CatalogTable
from cir.sources.photo_folder import PhotoFolder, composed, photo_id, shown
from cir.sources.photo_index import PhotoIndex
from cir.sources.split_names import SPLIT_WORDS, in_split_folders, split_named
from cir.types import Split

UNSORTED: Final = "photos"
"""The category of photos that lie in no folder of their own, where folders are the categories."""

_EXAMPLES: Final = 3
"""Things that are named of those that a reason left out."""


@dataclass(frozen=True)
class LeftOut:
    """Everything of the catalogue that did not enter the dataset."""

    malformed_rows: tuple[int, ...] = ()
    """Lines of the rows with too few or too many fields, a quote out of place, a NUL, or no id."""
    repeated_ids: tuple[str, ...] = ()
    """Ids that stand in a second row; their first row is kept."""
    rows_without_photo: tuple[str, ...] = ()
    rows_of_several_photos: tuple[str, ...] = ()
    """Ids that are the names of photos in several folders."""
    photos_without_row: tuple[str, ...] = ()
    photos_without_category: tuple[str, ...] = ()
    photos_of_one_id: tuple[str, ...] = ()
    """Photos that are named as another, but for the ending."""
    hidden_photos: tuple[str, ...] = ()
    photos_outside_their_shard: tuple[str, ...] = ()
    """Names in tar shards that lead out of them or are symbolic links."""
    unreadable_photos: tuple[str, ...] = ()
    """One line each, with the file."""
    beyond_limit: int = 0
    """Photos that the limit left out."""

    def lines(self) -> list[str]:
        """A line for each reason that left something out: how many, and the first of them."""
        return [
            f"Left out: {_with_examples(reason.replace('_', ' '), items)}"
            for reason, items in vars(self).items()
            if items
        ]

    @property
    def why(self) -> str:
        """Why rows make no photo, with the first of each kind and what to do."""
        kinds = (
            (self.rows_of_several_photos, "several photos are named {}: give paths or unique ids"),
            (self.photos_without_category, "{} has no category: pass another `category_column`"),
            (self.rows_without_photo, "{} names no photo: pass another `id_column`"),
            (
                self.malformed_rows,
                "line {} has too few or too many fields, holds a NUL, or has no id",
            ),
        )
        return "; ".join(
            told.format(rows[0]) + (f" (and {len(rows) - 1:,} more so)" if rows[1:] else "")
            for rows, told in kinds
            if rows
        )


def _with_examples(reason: str, items: int | tuple[object, ...]) -> str:
    """How many things a reason left out, with the first of them where they are known."""
    if isinstance(items, int):
        return f"{items:,} {reason}"
    lines = "lines " if reason == "malformed rows" else ""
    more = ", ..." if len(items) > _EXAMPLES else ""
    return f"{len(items):,} {reason} ({lines}{', '.join(map(str, items[:_EXAMPLES]))}{more})"


@dataclass(frozen=True)
class CatalogPhoto:
    """A photo with what its row of the catalogue says."""

    id: str
    file: Path
    own_category: str
    """The catalogue's category, as a file name; a query's photos all have the same."""
    title: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Facet to value, from the attribute columns and from the words of the name."""
    given_split: Split | None = None
    """The split that the catalogue or a folder tells; None where it is left to a hash."""
    product: str = ""
    """Photos of one product have the same here: the id of the first of its near-copies."""
    category: str = ""
    """Category of the dataset: its own, or the one that small categories share."""
    split: Split = "train"


def catalog_photos(
    table: CatalogTable, folder: PhotoFolder, columns: CatalogColumns, index: PhotoIndex
) -> tuple[list[CatalogPhoto], LeftOut]:
    """The photos that have a row and a category, in the order of their ids, and what lacks one.

    Raises:
        DatasetError: a row's split is none.
    """
    records, malformed = table.records(columns.name)
    rows = _Rows(table, columns, index, in_split_folders(folder.photos))
    for record in records:
        rows.add(record, folder)
    photos = sorted(rows.photos.values(), key=lambda photo: photo.id)
    left_out = LeftOut(
        malformed_rows=tuple(sorted((*malformed, *rows.without_id(table)))),
        repeated_ids=tuple(rows.repeated),
        rows_without_photo=tuple(sorted(rows.without_photo)),
        rows_of_several_photos=tuple(sorted(rows.of_several)),
        photos_without_row=tuple(shown(p) for p in folder.photos if p not in rows.taken),
        photos_without_category=tuple(p.id for p in photos if not p.own_category),
        photos_of_one_id=folder.same_id,
        hidden_photos=folder.hidden,
        photos_outside_their_shard=folder.outside_shards,
    )
    return [photo for photo in photos if photo.own_category], left_out


def folder_photos(folder: PhotoFolder) -> tuple[list[CatalogPhoto], LeftOut]:
    """The photos of a folder without a catalogue, in the order of their ids.

    The first folder on a photo's path is its category. Where every photo lies in train, validation
    or test, that folder is its split, and the next one the category.
    """
    splits = in_split_folders(folder.photos)
    photos = [
        CatalogPhoto(
            id=photo_id(path),
            file=folder.file(path),
            own_category=folder_category(path, splits=splits),
            given_split=split_named(path.parts[0]) if splits else None,
        )
        for path in folder.photos
    ]
    left_out = LeftOut(
        photos_of_one_id=folder.same_id,
        hidden_photos=folder.hidden,
        photos_outside_their_shard=folder.outside_shards,
    )
    return sorted(photos, key=lambda photo: photo.id), left_out


def folder_category(path: PurePosixPath, *, splits: bool) -> str:
    """The category that a photo's folder tells; `splits` says that the first one is a split."""
    folders = path.parts[1 if splits else 0 : -1]
    return (safe_name(folders[0]) if folders else "") or UNSORTED


def safe_name(category: str) -> str:
    """A category's name in file names: "Flip Flops" is flip-flops.

    Two categories have one name where they differ in nothing but capitals and what is no letter,
    digit or sign upon one; a long name ends in a digest of the whole.
    """
    text = "".join(c if _is_of_a_word(c) else " " for c in composed(category).lower())
    name = "-".join(text.split())
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_DIGITS]
    return f"{name[: _LONGEST_NAME - _DIGITS - 1]}-{digest}"


def _is_of_a_word(character: str) -> bool:
    """Whether it is a letter, a digit, an underscore, or a sign upon one, as a vowel of Hindi."""
    return (
        character == "_" or character.isalnum() or unicodedata.category(character).startswith("M")
    )


_LONGEST_NAME: Final = 50
"""Letters of a category's name in file names."""
_DIGITS: Final = 8


class _Rows:
    """Finds the photo of each row."""

    def __init__(
        self, table: CatalogTable, columns: CatalogColumns, index: PhotoIndex, split_folders: bool
    ) -> None:
        self._table, self._columns, self._index = table, columns, index
        self._split_folders = split_folders
        self.photos: dict[str, CatalogPhoto] = {}
        self.taken: set[PurePosixPath] = set()
        self.repeated: list[str] = []
        self.without_photo: list[str] = []
        self.of_several: list[str] = []

    def add(self, row: Mapping[str, str], folder: PhotoFolder) -> None:
        """Makes a row's photo."""
        value = row[self._columns.id]
        if not value:
            return
        found = self._index.find(value)
        if len(found) != 1:
            (self.of_several if found else self.without_photo).append(value)
            return
        identity = self._index.id_of(value, found[0])
        if identity in self.photos or found[0] in self.taken:
            self.repeated.append(value)
            return
        self.taken.add(found[0])
        self.photos[identity] = self._photo(identity, row, found[0], folder)

    def without_id(self, table: CatalogTable) -> Sequence[int]:
        """Lines of the rows whose id is empty."""
        column = table.header.index(self._columns.id)
        return [row.line for row in table.rows if not row.fields[column]]

    def _photo(
        self, identity: str, row: Mapping[str, str], path: PurePosixPath, folder: PhotoFolder
    ) -> CatalogPhoto:
        name = row[self._columns.name] if self._columns.name else ""
        return CatalogPhoto(
            id=identity,
            file=folder.file(path),
            own_category=self._category(row, path),
            title=" ".join(name.split()),
            attributes=read_facets(name) | self._stated(row),
            given_split=self._split(row, path),
        )

    def _category(self, row: Mapping[str, str], path: PurePosixPath) -> str:
        if self._columns.category is None:
            return folder_category(path, splits=self._split_folders)
        category = row[self._columns.category]
        return safe_name(category) if is_stated(category) else ""

    def _stated(self, row: Mapping[str, str]) -> dict[str, str]:
        """Facet to value of the attribute columns; of two columns of one facet the first counts."""
        stated: dict[str, str] = {}
        for column in self._columns.attributes:
            facet, value = facet_of(column), row[column]
            if is_stated(value) and facet not in stated:
                stated[facet] = facet_value(facet, value)
        return stated

    def _split(self, row: Mapping[str, str], path: PurePosixPath) -> Split | None:
        column = self._columns.split
        if column is None:
            return split_named(path.parts[0]) if self._split_folders else None
        if not is_stated(row[column]):
            return None
        split = split_named(row[column])
        if split is None:
            words = ", ".join(word for words in SPLIT_WORDS.values() for word in words)
            raise DatasetError(
                f"{self._table.path}: the row of {row[self._columns.id]} has {row[column]!r} in "
                f"column {column}; expected a split ({words}), or nothing where a hash shall "
                f"decide; `split_column` names another column"
            )
        return split
