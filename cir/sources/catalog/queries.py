"""The composed queries of a catalogue: pairs of its photos, worded, split by split."""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from cir.data.dataset import SPLITS
from cir.sources.annotations import CategorySplit, QueryRow
from cir.sources.catalog.column_guess import CatalogColumns
from cir.sources.catalog.photos import CatalogPhoto
from cir.sources.pairing import Pair, PhotoGroup, pair_photos
from cir.sources.wording import captions
from cir.types import Split

_QUERY_STREAM: Final = 2
"""Of the seed."""


def category_splits(
    photos: Sequence[CatalogPhoto], queries_per_photo: int, seed: int
) -> list[CategorySplit]:
    """Photos and queries of each category's split; one without photos is left out.

    The draws of a category depend on its name and its photos, and on no other category.

    Args:
        photos: With category and split.
        queries_per_photo: Queries of each reference photo, at most; 0 makes none.
        seed: Decides pairs and words.
    """
    members: dict[tuple[str, Split], list[CatalogPhoto]] = {}
    for photo in photos:
        members.setdefault((photo.category, photo.split), []).append(photo)
    return [
        _category_split(category, split, of_split, queries_per_photo, seed)
        for category in sorted({photo.category for photo in photos})
        for split in SPLITS
        if (of_split := members.get((category, split)))
    ]


def missing_for_queries(
    photos: Sequence[CatalogPhoto], splits: Sequence[CategorySplit], columns: CatalogColumns
) -> tuple[str, ...]:
    """Why there are no queries, or none in some split; nothing where every split has some."""
    with_queries = {split.split for split in splits if split.queries}
    lacking = [split for split in SPLITS if split not in with_queries]
    if not lacking:
        return ()
    said = [f"no queries in {', '.join(lacking)}"]
    if not any(photo.attributes for photo in photos):
        said.append("no photo has an attribute")
        if not columns.attributes:
            said.append("no column of attributes: `attribute_columns` names some")
        if not columns.name:
            said.append("no column of names, whose words count: `name_column` names one")
        return tuple(said)
    absent = [split for split in SPLITS if split not in {each.split for each in splits}]
    if absent:
        said.append(f"no photos in {', '.join(absent)}")
    said.append(
        "a query takes two photos of one split and category that differ in one or two attributes "
        "and agree in the others: more photos, other `attribute_columns`, or a coarser "
        "`category_column` make more"
    )
    return tuple(said)


def _category_split(
    category: str, split: Split, photos: Sequence[CatalogPhoto], queries_per_photo: int, seed: int
) -> CategorySplit:
    ids = [photo.id for photo in photos]
    if not queries_per_photo:
        return CategorySplit(category, split, ids, [])
    group = PhotoGroup(
        attributes=[photo.attributes for photo in photos],
        categories=[photo.own_category for photo in photos],
        lookalikes=[photo.product for photo in photos],
    )
    stream = [seed, _QUERY_STREAM, zlib.crc32(category.encode()), SPLITS.index(split)]
    rng = np.random.default_rng(stream)
    references = [row for row in range(len(photos)) for _ in range(queries_per_photo)]
    pairs = pair_photos(group, references, rng)
    queries = [_query(pair, photos, rng) for pair in pairs]
    return CategorySplit(category, split, ids, queries)


def _query(pair: Pair, photos: Sequence[CatalogPhoto], rng: np.random.Generator) -> QueryRow:
    targets = [photos[row].id for row in pair.targets]
    return QueryRow(photos[pair.reference].id, targets, captions(pair.changes, rng))
