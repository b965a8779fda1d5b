"""A catalogue of photos with attributes becomes a dataset of composed queries.

catalog_csv      rows of the CSV
catalog_photos   rows and image files together: photos with attributes
catalog_splits   the sample, the categories and the splits
pairing          queries: pairs of photos that differ in one or two attributes
wording          their captions
annotations      the files of the dataset folder
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from cir.data.dataset import SPLITS
from cir.errors import DatasetError, UsageError
from cir.outputs import folder_made
from cir.progress import SILENT, Progress
from cir.sources.annotations import (
    CATALOG_RECORDS,
    CategorySplit,
    CategorySplitCount,
    PhotoRecord,
    QueryRow,
    write_annotations,
    write_records,
)
from cir.sources.catalog_csv import read_catalog_csv
from cir.sources.catalog_photos import (
    CatalogColumns,
    CatalogPhoto,
    LeftOut,
    catalog_photos,
    photo_files,
)
from cir.sources.catalog_splits import (
    number_shots,
    sample_photos,
    small_categories,
    split_photos,
    with_categories,
)
from cir.sources.links import link_or_copy, require_link
from cir.sources.pairing import Pair, PhotoGroup, pair_photos
from cir.sources.wording import captions
from cir.types import Split

_QUERY_STREAM: Final = 2
"""Of the seed; 0 and 1 are those of `catalog_splits`."""


@dataclass(frozen=True)
class CatalogSummary:
    """What was made."""

    splits: tuple[CategorySplitCount, ...]
    pooled: Mapping[str, int]
    """Categories that share the category `other`, with their photos."""
    lookalikes: int
    """Photos that share their shot with another one."""
    left_out: LeftOut


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
        UsageError: a column is unknown, or an argument is out of range.
        DatasetError: a file or folder is missing or unreadable, or no queries can be made.
    """
    _require_arguments(queries_per_photo, limit, link)
    needed = (columns.category, columns.name, *columns.attributes)
    rows = read_catalog_csv(
        attributes, id_column=columns.id, needed=needed, free_column=columns.name
    )
    photos, left_out = catalog_photos(rows, photo_files(images), columns)
    sample = sample_photos(photos, limit, seed)
    readable, unreadable = number_shots(sample, workers, progress)
    pooled = small_categories(readable, min_category)
    by_split = split_photos(with_categories(readable, pooled), seed)
    category_splits, dropped = _category_splits(by_split, queries_per_photo, seed)
    if not category_splits:
        raise DatasetError(
            f"{attributes}: no two of the {len(readable)} photos differ in one or two attributes "
            f"in every split; expected more photos or other `attribute_columns`"
        )
    left_out = replace(
        left_out,
        unreadable_photos=unreadable,
        beyond_limit=len(photos) - len(sample),
        categories_without_queries=tuple(sorted(dropped)),
    )
    kept = {s: [p for p in photos if p.category not in dropped] for s, photos in by_split.items()}
    with folder_made(out, "dataset", {"images": images, "attributes": attributes}) as aside:
        _link_images(aside / "images", kept, link)
        write_annotations(aside, category_splits)
        write_records(aside / CATALOG_RECORDS, _records(kept), {"left_out": vars(left_out)})
    return CatalogSummary(
        splits=tuple(split.count() for split in category_splits),
        pooled=pooled,
        lookalikes=sum(n for n in Counter(p.shot for p in readable).values() if n > 1),
        left_out=left_out,
    )


def _require_arguments(queries_per_photo: int, limit: int | None, link: str) -> None:
    if queries_per_photo < 1:
        raise UsageError(f"`queries_per_photo` is {queries_per_photo}; expected 1 or more")
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` is {limit}; expected 1 or more, or none")
    require_link(link)


def _category_splits(
    by_split: Mapping[Split, Sequence[CatalogPhoto]], queries_per_photo: int, seed: int
) -> tuple[list[CategorySplit], set[str]]:
    """Photos and queries of each category's split; and the categories without queries in one.

    A category without queries in one split is dropped from all.
    """
    categories = sorted({photo.category for photos in by_split.values() for photo in photos})
    every = [
        _category_split(
            category,
            split,
            [photo for photo in photos if photo.category == category],
            queries_per_photo,
            np.random.default_rng([seed, _QUERY_STREAM, number, SPLITS.index(split)]),
        )
        for number, category in enumerate(categories)
        for split, photos in by_split.items()
    ]
    dropped = {split.category for split in every if not split.queries}
    return [split for split in every if split.category not in dropped], dropped


def _category_split(
    category: str,
    split: Split,
    photos: Sequence[CatalogPhoto],
    queries_per_photo: int,
    rng: np.random.Generator,
) -> CategorySplit:
    group = PhotoGroup(
        attributes=[photo.attributes for photo in photos],
        categories=[photo.own_category for photo in photos],
        lookalikes=[photo.shot for photo in photos],
    )
    references = [row for row in range(len(photos)) for _ in range(queries_per_photo)]
    pairs = pair_photos(group, references, rng)
    queries = [_query(pair, photos, rng) for pair in pairs]
    return CategorySplit(category, split, [photo.id for photo in photos], queries)


def _query(pair: Pair, photos: Sequence[CatalogPhoto], rng: np.random.Generator) -> QueryRow:
    targets = [photos[row].id for row in pair.targets]
    return QueryRow(photos[pair.reference].id, targets, captions(pair.changes, rng))


def _link_images(folder: Path, by_split: Mapping[Split, Sequence[CatalogPhoto]], link: str) -> None:
    folder.mkdir()
    for photo in (photo for photos in by_split.values() for photo in photos):
        copy = folder / f"{photo.id}{photo.file.suffix.lower()}"
        link_or_copy(photo.file.resolve(), copy, link)


def _records(by_split: Mapping[Split, Sequence[CatalogPhoto]]) -> dict[str, PhotoRecord]:
    records = {
        photo.id: PhotoRecord(photo.category, split, photo.title, photo.attributes)
        for split, photos in by_split.items()
        for photo in photos
    }
    return dict(sorted(records.items()))
