"""Photos become a dataset: a gallery, and composed queries where a catalogue tells of them.

photo_folder     the photos of a folder and those below it
photo_index      the same, by what a catalogue may call them
catalog_csv      rows of the CSV (csv_form: its encoding and delimiter)
column_guess     which column holds what
catalog_photos   rows and image files together: photos with attributes
catalog_splits   the sample, the products, the categories and the splits
catalog_queries  queries: pairs of photos that differ in one or two attributes
annotations      the files of the dataset folder
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cir.data.pointers import Pointer, write_pointer
from cir.data.remote import RemotePath
from cir.disk.outputs import folder_made
from cir.errors import DatasetError, UsageError
from cir.names import CATALOG_RECORDS, IMAGES, POINTER
from cir.progress import SILENT, Progress
from cir.sources.annotations import (
    CategorySplit,
    CategorySplitCount,
    PhotoRecord,
    write_annotations,
    write_records,
)
from cir.sources.catalog.column_guess import AskedColumns, ColumnChoice, choose_columns
from cir.sources.catalog.photos import CatalogPhoto, LeftOut, catalog_photos, folder_photos
from cir.sources.catalog.queries import category_splits, missing_for_queries
from cir.sources.catalog.rows import CatalogTable, read_catalog_csv
from cir.sources.catalog.splits import (
    POOLED,
    default_min_category,
    sample_photos,
    small_categories,
    torn_products,
    with_categories,
    with_products,
    with_splits,
)
from cir.sources.links import link_or_copy, require_link
from cir.sources.photo_folder import PhotoFolder, read_photo_folder, shown
from cir.sources.photo_index import PhotoIndex
from cir.sources.split_names import looks_like_split_folders


@dataclass(frozen=True)
class CsvForm:
    """How a catalogue's file was read."""

    rows: int
    encoding: str
    encoding_why: str
    delimiter: str
    has_header: bool
    """Whether the first line names columns; where it names a photo, it is a row."""


@dataclass(frozen=True)
class CatalogSummary:
    """What was made."""

    splits: tuple[CategorySplitCount, ...]
    left_out: LeftOut
    lookalikes: int
    """Photos that share their product with another one: near-copies."""
    torn: int
    """Photos with a near-copy in another split, because the splits were given."""
    others: Mapping[str, int]
    """Endings of the files that are no photos, with their numbers."""
    taken_as_categories: tuple[str, ...]
    """Folders that are named as splits and were taken as categories, since others lie beside."""
    pooled: Mapping[str, int]
    """Categories that share the category `other`, with their photos."""
    min_category: int
    """Photos that a category needed for a gallery of its own; 0 where none was asked for."""
    form: CsvForm | None = None
    choices: tuple[ColumnChoice, ...] = ()
    missing: tuple[str, ...] = ()
    """What queries lack, as clauses."""


def make_catalog(
    out: Path,
    *,
    images: Path,
    attributes: Path,
    columns: AskedColumns = AskedColumns(),  # noqa: B008 - frozen
    delimiter: str | None = None,
    encoding: str | None = None,
    queries_per_photo: int = 2,
    min_category: int | None = None,
    link: str = "hardlink",
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CatalogSummary:
    """Writes a dataset folder from photos and a CSV; photos enter it as they are.

    Args:
        out: Folder to make; one that is there is replaced.
        images: Folder of photos, in itself and in the folders below it.
        attributes: CSV with a row a photo.
        columns: What holds what; what is not told is guessed.
        delimiter: Of the CSV; found by default.
        encoding: Of the CSV; found by default.
        queries_per_photo: Queries for each reference photo, at most.
        min_category: Photos that a category needs for a gallery of its own; by default a twentieth
            of all, from 10 to 1000.
        link: hardlink, symlink or copy.
        seed: Decides sample, splits, pairs and words, together with the photos' ids alone.
        limit: Size of a sample of the photos.
        workers: Processes that read photos.
        progress: Told of every photo read.

    Raises:
        UsageError: a column is unknown, none names photos, or an argument is out of range.
        DatasetError: a file or folder is missing or unreadable, or no photo is left.
    """
    _require_arguments(queries_per_photo, limit, link)
    folder = read_photo_folder(images)
    index = PhotoIndex(folder)
    table = read_catalog_csv(attributes, delimiter=delimiter, encoding=encoding)
    has_header = not any(index.find(name) for name in table.header)
    table = table if has_header else table.headless()
    chosen = choose_columns(table, index, columns)
    photos, left_out = catalog_photos(table, folder, chosen.columns, index)
    if not photos:
        raise DatasetError(f"no row of {attributes} makes a photo of the dataset: {left_out.why}")
    readable, left_out = _readable(photos, left_out, limit, seed, workers, progress)
    least = default_min_category(len(readable)) if min_category is None else min_category
    pooled = small_categories(readable, least)
    placed = with_splits(with_categories(readable, pooled), seed)
    splits = category_splits(placed, queries_per_photo, seed)
    summary = CatalogSummary(
        splits=tuple(split.count() for split in splits),
        left_out=left_out,
        pooled=pooled,
        min_category=least,
        form=_form(table, has_header=has_header),
        choices=chosen.choices,
        missing=missing_for_queries(placed, splits, chosen.columns),
        **_of_folder(folder, placed),
    )
    inputs = {"images": images, "attributes": attributes}
    _write(out, placed, splits, summary, link, folder.root, inputs)
    return summary


def make_gallery(
    out: Path,
    *,
    photos: Path,
    link: str = "hardlink",
    seed: int = 0,
    limit: int | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CatalogSummary:
    """Writes a dataset folder from photos alone: a gallery to search in, without captions.

    Args:
        out: Folder to make; one that is there is replaced.
        photos: Folder of photos; the folders in it are categories, or splits of categories.
        link: hardlink, symlink or copy.
        seed: Decides sample and splits, together with the photos' ids alone.
        limit: Size of a sample of the photos.
        workers: Processes that read photos.
        progress: Told of every photo read.

    Raises:
        UsageError: an argument is out of range.
        DatasetError: the folder is missing, or holds no photo that can be read.
    """
    _require_arguments(1, limit, link)
    folder = read_photo_folder(photos)
    found, left_out = folder_photos(folder)
    readable, left_out = _readable(found, left_out, limit, seed, workers, progress)
    placed = with_splits(with_categories(readable, {}), seed)
    splits = category_splits(placed, 0, seed)
    summary = CatalogSummary(
        splits=tuple(split.count() for split in splits),
        left_out=left_out,
        pooled={},
        min_category=0,
        **_of_folder(folder, placed),
    )
    _write(out, placed, splits, summary, link, folder.root, {"photos": photos})
    return summary


def _readable(
    photos: Sequence[CatalogPhoto],
    left_out: LeftOut,
    limit: int | None,
    seed: int,
    workers: int,
    progress: Progress,
) -> tuple[list[CatalogPhoto], LeftOut]:
    """The photos of the sample that can be read, with their products; and all that is left out."""
    sample = sample_photos(photos, limit, seed)
    readable, unreadable = with_products(sample, workers, progress)
    beyond = len(photos) - len(sample)
    return readable, replace(left_out, unreadable_photos=unreadable, beyond_limit=beyond)


def _require_arguments(queries_per_photo: int, limit: int | None, link: str) -> None:
    if queries_per_photo < 1:
        raise UsageError(f"`queries_per_photo` is {queries_per_photo}; expected 1 or more")
    if limit is not None and limit < 1:
        raise UsageError(f"`limit` is {limit}; expected 1 or more, or none")
    require_link(link)


def _form(table: CatalogTable, *, has_header: bool) -> CsvForm:
    rows = len(table.rows) + len(table.malformed)
    return CsvForm(rows, table.encoding, table.encoding_why, table.delimiter, has_header)


def _of_folder(folder: PhotoFolder, placed: Sequence[CatalogPhoto]) -> dict[str, Any]:
    """What a summary says of the folder of photos, whatever was known of them beside."""
    return {
        "lookalikes": sum(n for n in Counter(p.product for p in placed).values() if n > 1),
        "torn": torn_products(placed),
        "others": folder.others,
        "taken_as_categories": tuple(looks_like_split_folders(folder.photos)),
    }


def _write(
    out: Path,
    photos: Sequence[CatalogPhoto],
    splits: Sequence[CategorySplit],
    summary: CatalogSummary,
    link: str,
    source: Path,
    inputs: Mapping[str, Path],
) -> None:
    with folder_made(out, "dataset", inputs) as aside:
        _link_images(aside / IMAGES, photos, source, link)
        write_annotations(aside, splits)
        write_records(aside / CATALOG_RECORDS, _records(photos, source), _described(summary))


def _link_images(folder: Path, photos: Sequence[CatalogPhoto], source: Path, link: str) -> None:
    """Lets the photos into a dataset; those at `s3://` stay there, and a pointer names them."""
    folder.mkdir()
    files = {f"{photo.id}{photo.file.suffix.lower()}": photo.file for photo in photos}
    if isinstance(source, RemotePath):
        names = {name: str(file.relative_to(source)) for name, file in files.items()}
        write_pointer(folder / POINTER, Pointer(source, names))
        return
    for name, file in files.items():
        link_or_copy(file, folder / name, link)


def _records(photos: Sequence[CatalogPhoto], source: Path) -> dict[str, PhotoRecord]:
    return {
        photo.id: PhotoRecord(
            photo.category,
            photo.split,
            photo.title,
            photo.attributes,
            shown(PurePosixPath(photo.file.relative_to(source))),
            own_category=photo.own_category if photo.category == POOLED else "",
            product=photo.product if photo.product != photo.id else "",
        )
        for photo in photos
    }


def _described(summary: CatalogSummary) -> dict[str, Any]:
    """The whole summary as JSON values."""
    return {
        "left_out": vars(summary.left_out),
        "categories": [vars(count) for count in summary.splits],
        "pooled": {"into": POOLED, "fewer_than": summary.min_category, "photos": summary.pooled},
        "columns": {choice.field: choice.columns for choice in summary.choices},
        "form": vars(summary.form) if summary.form else None,
        "missing_for_queries": summary.missing,
        "files_that_are_no_photos": summary.others,
    }
