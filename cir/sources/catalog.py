"""A catalogue of photos with attributes becomes a dataset of composed queries.

Photos that show the same shot stay in one split; queries come from `cir.sources.pairing`, their
captions from `cir.sources.wording`. A category with too few photos for a gallery of its own shares
one with the other small ones, but its queries stay inside it.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from cir.data.dataset import IMAGE_SUFFIXES, SPLITS
from cir.errors import DatasetError
from cir.files import folder_written_aside
from cir.parallel import in_order
from cir.progress import SILENT, Progress
from cir.sources.annotations import PhotoRecord, QueryRow, Shelved, write_annotations, write_records
from cir.sources.catalog_csv import CatalogRows, read_catalog_csv
from cir.sources.facets import read_facets
from cir.sources.pairing import Pair, Shelf, pair_photos
from cir.sources.thumbnails import near_identical, read_thumbnail
from cir.sources.wording import captions
from cir.types import Split

RECORDS: Final = "catalog.json"
"""The file of the dataset folder that holds each photo's title and attributes."""
POOLED: Final = "other"
"""Name of the category that small ones share."""
_SHARES: Final[Mapping[Split, float]] = {"train": 0.70, "val": 0.15, "test": 0.15}
_UNSTATED: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown"})
_FACET_OF_COLUMN: Final[Mapping[str, str]] = {
    "articletype": "type",
    "producttype": "type",
    "basecolour": "colour",
    "basecolor": "colour",
    "color": "colour",
}
"""Columns that a facet of `cir.sources.wording` is known by another name for."""


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
    """Photos that --limit left out."""
    categories_without_queries: tuple[str, ...] = ()
    """Categories with a split in which no two photos make a query; their photos are left out."""


@dataclass(frozen=True)
class ShelfCount:
    """Figures of one category's split."""

    category: str
    split: Split
    photos: int
    queries: int
    targets: float
    """Photos that fit a query, on average."""


@dataclass(frozen=True)
class CatalogSummary:
    """What was made."""

    shelves: tuple[ShelfCount, ...]
    pooled: Mapping[str, int]
    """Categories that share the category `other`, with their photos."""
    lookalikes: int
    """Photos that share their shot with another one."""
    left_out: LeftOut


@dataclass(frozen=True)
class _Photo:
    id: str
    file: Path
    kind: str
    """Its own category, which queries stay inside."""
    title: str
    attributes: Mapping[str, str]
    shot: int = 0
    """Photos of equal number show the same shot."""
    category: str = ""
    """Category of the dataset: its own, or the shared one."""


def make_catalog(
    out: Path,
    *,
    images: Path,
    attributes: Path,
    columns: CatalogColumns,
    queries_per_photo: int = 2,
    min_category: int = 1000,
    link: str = "hardlink",
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CatalogSummary:
    """Writes a dataset folder; photos enter it as they are.

    Args:
        out: Folder to make; one that is there is replaced.
        images: Folder of `<id>.jpg`, `.jpeg` or `.png`.
        attributes: CSV with a row a photo.
        columns: Its columns.
        queries_per_photo: Queries for each reference photo, at most.
        min_category: Photos that a category needs for a gallery of its own.
        link: hardlink, symlink or copy.
        seed: Decides sample, splits, pairs and words, together with the photos' ids alone.
        limit: Size of a sample of the photos.
        workers: Processes that read photos.
        progress: Told of every photo read.

    Raises:
        UsageError: a column is unknown.
        DatasetError: a file or folder is missing or unreadable, or no queries can be made.
    """
    needed = (columns.category, columns.name, *columns.attributes)
    catalog = read_catalog_csv(
        attributes, id_column=columns.id, needed=needed, free_column=columns.name
    )
    files = _photo_files(images)
    photos, left_out = _listed(catalog, files, columns)
    sample = _sample(photos, limit, seed)
    read, unreadable = _same_shots(sample, workers, progress)
    pooled = _pooled(read, min_category)
    homed = [replace(photo, category=_home(photo, pooled)) for photo in read]
    placed = _placed(homed, seed)
    shelves, kept = _shelves(placed, queries_per_photo, seed)
    left_out = replace(
        left_out,
        unreadable_photos=unreadable,
        beyond_limit=len(photos) - len(sample),
        categories_without_queries=tuple(sorted({p.category for p in homed} - kept)),
    )
    if not shelves:
        raise DatasetError(
            f"{attributes}: no two of the {len(read)} photos differ in one or two attributes in "
            f"every split; expected more photos or other --attribute-columns"
        )
    chosen = {s: [p for p in photos if p.category in kept] for s, photos in placed.items()}
    with folder_written_aside(out) as aside:
        _place_images(aside / "images", chosen, link)
        write_annotations(aside, shelves)
        write_records(aside / RECORDS, _records(chosen), {"left_out": vars(left_out)})
    return CatalogSummary(
        shelves=tuple(_count(shelf) for shelf in shelves),
        pooled=pooled,
        lookalikes=sum(n for n in Counter(p.shot for p in read).values() if n > 1),
        left_out=left_out,
    )


def facet_of(column: str) -> str:
    """The facet that a column of the catalogue states: `baseColour` is the colour."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", column).lower().strip()
    return _FACET_OF_COLUMN.get(spaced.replace(" ", ""), spaced)


def safe_name(category: str) -> str:
    """A category's name in file names: "Flip Flops" is flip-flops."""
    return "-".join(re.findall(r"\w+", category.lower()))


def _photo_files(images: Path) -> dict[str, Path]:
    if not images.is_dir():
        raise DatasetError(f"no folder of photos at {images}: expected <id>.jpg files")
    with os.scandir(images) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(IMAGE_SUFFIXES))
    if not names:
        raise DatasetError(f"{images} holds no photos: expected .jpg, .jpeg or .png files")
    return {Path(name).stem: images / name for name in names}


def _listed(
    catalog: CatalogRows, files: Mapping[str, Path], columns: CatalogColumns
) -> tuple[list[_Photo], LeftOut]:
    """The photos that have a row and a category, by id, and what is left over."""
    rows = {row[columns.id]: row for row in catalog.rows}
    photos = [
        _photo(rows[photo], files[photo], columns) for photo in sorted(rows.keys() & files.keys())
    ]
    left_out = LeftOut(
        malformed_rows=catalog.malformed,
        repeated_ids=catalog.repeated,
        rows_without_photo=tuple(sorted(rows.keys() - files.keys())),
        photos_without_row=tuple(sorted(files.keys() - rows.keys())),
        photos_without_category=tuple(p.id for p in photos if not p.kind),
    )
    return [photo for photo in photos if photo.kind], left_out


def _photo(row: Mapping[str, str], file: Path, columns: CatalogColumns) -> _Photo:
    stated = {facet_of(c): row[c].lower() for c in columns.attributes if _states(row[c])}
    return _Photo(
        id=row[columns.id],
        file=file,
        kind=safe_name(row[columns.category]) if _states(row[columns.category]) else "",
        title=" ".join(row[columns.name].split()),
        attributes=read_facets(row[columns.name]) | stated,
    )


def _states(value: str) -> bool:
    return value.lower() not in _UNSTATED


def _sample(photos: Sequence[_Photo], limit: int | None, seed: int) -> list[_Photo]:
    """`limit` of the photos, in the order of their ids."""
    if limit is None or limit >= len(photos):
        return list(photos)
    chosen = np.random.default_rng([seed, 0]).permutation(len(photos))[:limit]
    return [photos[i] for i in sorted(chosen)]


def _same_shots(
    photos: Sequence[_Photo], workers: int, progress: Progress
) -> tuple[list[_Photo], tuple[str, ...]]:
    """The readable photos with the number of their shot, and a line for each that is not."""
    thumbnails = []
    with progress.task("reading photos", len(photos), "photos") as task:
        for thumbnail in in_order(read_thumbnail, [p.file for p in photos], workers):
            thumbnails.append(thumbnail)
            task.advance()
    readable = [(p, t.pixels) for p, t in zip(photos, thumbnails, strict=True) if not t.fault]
    if not readable:
        raise DatasetError(f"none of the {len(photos)} photos that have a row can be read")
    shots = near_identical(np.stack([pixels for _, pixels in readable if pixels is not None]))
    numbered = zip(readable, shots, strict=True)
    return (
        [replace(photo, shot=int(shot)) for (photo, _), shot in numbered],
        tuple(t.fault for t in thumbnails if t.fault),
    )


def _pooled(photos: Sequence[_Photo], min_category: int) -> dict[str, int]:
    sizes = Counter(photo.kind for photo in photos)
    return {kind: n for kind, n in sizes.most_common() if n < min_category}


def _home(photo: _Photo, pooled: Mapping[str, int]) -> str:
    return POOLED if photo.kind in pooled else photo.kind


def _placed(photos: Sequence[_Photo], seed: int) -> dict[Split, list[_Photo]]:
    """Photos by split: every kind 70/15/15, photos of one shot together, ids in order."""
    split_of: dict[int, Split] = {}
    for number, kind in enumerate(sorted({photo.kind for photo in photos})):
        sizes = Counter(p.shot for p in photos if p.kind == kind and p.shot not in split_of)
        shots = np.array(sorted(sizes), dtype=np.int64)
        order = np.random.default_rng([seed, 1, number]).permutation(len(shots))
        split_of.update(_cut(shots[order], sizes))
    return {split: [p for p in photos if split_of[p.shot] == split] for split in SPLITS}


def _cut(shots: Int[np.ndarray, " shots"], sizes: Mapping[int, int]) -> Iterator[tuple[int, Split]]:
    """Gives each shot in turn to the split that lacks most of its share."""
    held: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for number in (int(shot) for shot in shots):
        total = sum(held.values()) + sizes[number]
        split = max(SPLITS, key=lambda split: _SHARES[split] * total - held[split])
        held[split] += sizes[number]
        yield number, split


def _shelves(
    placed: Mapping[Split, Sequence[_Photo]], queries_per_photo: int, seed: int
) -> tuple[list[Shelved], set[str]]:
    """Photos and queries of each category's split, and the categories that have queries in all."""
    categories = sorted({photo.category for photos in placed.values() for photo in photos})
    shelves = [
        _shelf(
            category,
            split,
            [p for p in photos if p.category == category],
            queries_per_photo,
            np.random.default_rng([seed, 2, number, SPLITS.index(split)]),
        )
        for number, category in enumerate(categories)
        for split, photos in placed.items()
    ]
    kept = set(categories) - {shelf.category for shelf in shelves if not shelf.queries}
    return [shelf for shelf in shelves if shelf.category in kept], kept


def _shelf(
    category: str,
    split: Split,
    photos: Sequence[_Photo],
    queries_per_photo: int,
    rng: np.random.Generator,
) -> Shelved:
    shelf = Shelf(
        attributes=[photo.attributes for photo in photos],
        kinds=[photo.kind for photo in photos],
        lookalikes=[photo.shot for photo in photos],
    )
    references = [row for row in range(len(photos)) for _ in range(queries_per_photo)]
    pairs = pair_photos(shelf, references, rng)
    return Shelved(
        category, split, [p.id for p in photos], [_query(pair, photos, rng) for pair in pairs]
    )


def _query(pair: Pair, photos: Sequence[_Photo], rng: np.random.Generator) -> QueryRow:
    targets = [photos[row].id for row in pair.targets]
    return QueryRow(photos[pair.reference].id, targets, captions(pair.changes, rng))


def _place_images(folder: Path, placed: Mapping[Split, Sequence[_Photo]], link: str) -> None:
    folder.mkdir()
    for photo in (photo for photos in placed.values() for photo in photos):
        _place(photo.file.resolve(), folder / f"{photo.id}{photo.file.suffix.lower()}", link)


def _place(source: Path, place: Path, link: str) -> None:
    """Links or copies; a hard link that the file system refuses becomes a copy."""
    if link == "symlink":
        place.symlink_to(source)
        return
    if link == "hardlink":
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)
        return
    shutil.copyfile(source, place)


def _records(placed: Mapping[Split, Sequence[_Photo]]) -> dict[str, PhotoRecord]:
    records = {
        photo.id: PhotoRecord(photo.category, split, photo.title, photo.attributes)
        for split, photos in placed.items()
        for photo in photos
    }
    return dict(sorted(records.items()))


def _count(shelf: Shelved) -> ShelfCount:
    queries = shelf.queries
    targets = sum(len(q.targets) for q in queries) / max(len(queries), 1)
    return ShelfCount(shelf.category, shelf.split, len(shelf.ids), len(queries), targets)
