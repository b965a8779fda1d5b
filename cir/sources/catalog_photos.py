"""The photos of a catalogue: each has a row of the CSV, an image file, and attributes."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cir.data.formats import IMAGE_SUFFIXES
from cir.errors import DatasetError
from cir.sources.catalog_csv import CatalogRows
from cir.sources.facets import facet_of, read_facets

_UNSTATED: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown"})


@dataclass(frozen=True)
class CatalogColumns:
    """Which column of the catalogue holds what."""

    id: str
    category: str
    name: str
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class LeftOut:
    """Everything of the catalogue that did not enter the dataset."""

    malformed_rows: tuple[int, ...] = ()
    repeated_ids: tuple[str, ...] = ()
    rows_without_photo: tuple[str, ...] = ()
    photos_without_row: tuple[str, ...] = ()
    photos_without_category: tuple[str, ...] = ()
    unreadable_photos: tuple[str, ...] = ()
    """One line each, with the file."""
    beyond_limit: int = 0
    """Photos that the limit left out."""
    categories_without_queries: tuple[str, ...] = ()
    """Categories with a split in which no two photos make a query; their photos are left out."""


@dataclass(frozen=True)
class CatalogPhoto:
    """A photo with what its row of the catalogue says."""

    id: str
    file: Path
    own_category: str
    """The catalogue's category, as a file name; a query's photos all have the same."""
    title: str
    attributes: Mapping[str, str]
    """Facet to value, from the attribute columns and from the words of the name."""
    shot: int = 0
    """Photos of equal number show the same shot."""
    category: str = ""
    """Category of the dataset: its own, or the one that small categories share."""


def photo_files(images: Path) -> dict[str, Path]:
    """Photo id to file, for every image of a folder.

    Raises:
        DatasetError: there is no such folder, or it holds no image.
    """
    if not images.is_dir():
        raise DatasetError(f"no folder of photos at {images}: expected <id>.jpg files")
    with os.scandir(images) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES))
    if not names:
        raise DatasetError(f"{images} holds no photos: expected .jpg, .jpeg or .png files")
    return {Path(name).stem: images / name for name in names}


def catalog_photos(
    rows: CatalogRows, files: Mapping[str, Path], columns: CatalogColumns
) -> tuple[list[CatalogPhoto], LeftOut]:
    """The photos that have a row and a category, in the order of their ids, and what lacks one."""
    row_of = {row[columns.id]: row for row in rows.rows}
    ids = sorted(row_of.keys() & files.keys())
    photos = [_photo(row_of[photo_id], files[photo_id], columns) for photo_id in ids]
    left_out = LeftOut(
        malformed_rows=rows.malformed,
        repeated_ids=rows.repeated,
        rows_without_photo=tuple(sorted(row_of.keys() - files.keys())),
        photos_without_row=tuple(sorted(files.keys() - row_of.keys())),
        photos_without_category=tuple(p.id for p in photos if not p.own_category),
    )
    return [photo for photo in photos if photo.own_category], left_out


def safe_name(category: str) -> str:
    """A category's name in file names: "Flip Flops" is flip-flops."""
    return "-".join(re.findall(r"\w+", category.lower()))


def _photo(row: Mapping[str, str], file: Path, columns: CatalogColumns) -> CatalogPhoto:
    stated = {facet_of(c): row[c].lower() for c in columns.attributes if _is_stated(row[c])}
    category = row[columns.category]
    return CatalogPhoto(
        id=row[columns.id],
        file=file,
        own_category=safe_name(category) if _is_stated(category) else "",
        title=" ".join(row[columns.name].split()),
        attributes=read_facets(row[columns.name]) | stated,
    )


def _is_stated(value: str) -> bool:
    return value.lower() not in _UNSTATED
