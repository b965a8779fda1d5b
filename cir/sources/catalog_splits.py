"""Which photos of a catalogue are taken, which category they go to, and which split.

Photos that show the same shot stay in one split. A category with too few photos for a gallery of
its own shares one with the other small ones.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Int

from cir.data.dataset import SPLITS
from cir.errors import DatasetError
from cir.parallel import in_order
from cir.progress import Progress
from cir.sources.catalog_photos import CatalogPhoto
from cir.sources.thumbnails import near_identical, read_thumbnail
from cir.types import Split

POOLED: Final = "other"
"""Name of the category that small ones share."""
_SHARES: Final[Mapping[Split, float]] = {"train": 0.70, "val": 0.15, "test": 0.15}
_SAMPLE_STREAM, _SPLIT_STREAM = range(2)


def sample_photos(
    photos: Sequence[CatalogPhoto], limit: int | None, seed: int
) -> list[CatalogPhoto]:
    """`limit` of the photos drawn by the seed, in their order; all where there is no limit."""
    if limit is None or limit >= len(photos):
        return list(photos)
    drawn = np.random.default_rng([seed, _SAMPLE_STREAM]).permutation(len(photos))[:limit]
    return [photos[row] for row in sorted(drawn)]


def number_shots(
    photos: Sequence[CatalogPhoto], workers: int, progress: Progress
) -> tuple[list[CatalogPhoto], tuple[str, ...]]:
    """The readable photos with the number of their shot, and a line for each that is not.

    Raises:
        DatasetError: no photo can be read.
    """
    thumbnails = []
    with progress.task("reading photos", len(photos), "photos") as task:
        for thumbnail in in_order(read_thumbnail, [p.file for p in photos], workers):
            thumbnails.append(thumbnail)
            task.advance()
    readable = [(p, t.pixels) for p, t in zip(photos, thumbnails, strict=True) if not t.fault]
    if not readable:
        raise DatasetError(f"none of the {len(photos)} photos that have a row can be read")
    shots = near_identical(np.stack([pixels for _, pixels in readable if pixels is not None]))
    return (
        [replace(photo, shot=int(shot)) for (photo, _), shot in zip(readable, shots, strict=True)],
        tuple(thumbnail.fault for thumbnail in thumbnails if thumbnail.fault),
    )


def small_categories(photos: Sequence[CatalogPhoto], min_category: int) -> dict[str, int]:
    """The categories of fewer than `min_category` photos with their sizes, the largest first."""
    sizes = Counter(photo.own_category for photo in photos)
    return {category: n for category, n in sizes.most_common() if n < min_category}


def with_categories(photos: Sequence[CatalogPhoto], small: Mapping[str, int]) -> list[CatalogPhoto]:
    """The photos with their category of the dataset: `POOLED` for those of small categories."""
    return [
        replace(photo, category=POOLED if photo.own_category in small else photo.own_category)
        for photo in photos
    ]


def split_photos(photos: Sequence[CatalogPhoto], seed: int) -> dict[Split, list[CatalogPhoto]]:
    """Photos by split: 70/15/15 of each category, photos of one shot together, in their order."""
    split_of: dict[int, Split] = {}
    for number, category in enumerate(sorted({photo.own_category for photo in photos})):
        members = (p for p in photos if p.own_category == category)
        sizes = Counter(photo.shot for photo in members if photo.shot not in split_of)
        shots = np.array(sorted(sizes), dtype=np.int64)
        order = np.random.default_rng([seed, _SPLIT_STREAM, number]).permutation(len(shots))
        split_of.update(_deal(shots[order], sizes))
    return {split: [p for p in photos if split_of[p.shot] == split] for split in SPLITS}


def _deal(
    shots: Int[np.ndarray, " shots"], sizes: Mapping[int, int]
) -> Iterator[tuple[int, Split]]:
    """Gives each shot in turn to the split that lacks most of its share."""
    held: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for shot in shots.tolist():
        total = sum(held.values()) + sizes[shot]
        split = max(SPLITS, key=lambda split: _SHARES[split] * total - held[split])
        held[split] += sizes[shot]
        yield shot, split
