"""Which photos of a catalogue are taken, which category they go to, and which split.

A split is a function of the photo's product and of the seed, by a hash: photos that are added, and
photos that go, move no other. A product is a group of near-copies, and bears the id of the one that
comes first (numbers in ids by their value). So a new near-copy joins the split of its group. It can
move the group only where its id comes before all of the group's, and a photo that is a near-copy of
two groups makes them one, which has the split of the one that comes first.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from cir.data.dataset import SPLITS
from cir.errors import DatasetError
from cir.machine.parallel import in_order
from cir.progress import Progress
from cir.sources.catalog.photos import CatalogPhoto
from cir.sources.catalog.thumbnails import near_identical, read_thumbnail
from cir.types import Split

POOLED: Final = "other"
"""Name of the category that small ones share."""
_VAL_FROM, _TEST_FROM = 0.70, 0.85
"""Where the hashes of val and test begin, as shares: 70 % train, 15 % val, 15 % test."""
_LARGEST_DEFAULT, _LEAST_DEFAULT, _SHARE_OF_ALL = 1000, 10, 20


def sample_photos(
    photos: Sequence[CatalogPhoto], limit: int | None, seed: int
) -> list[CatalogPhoto]:
    """`limit` of the photos by the hashes of their ids, in their order; all without a limit.

    Of a sample, photos that are added replace as many as have greater hashes, and move no other.
    """
    if limit is None or limit >= len(photos):
        return list(photos)
    shares = [_share(photo.id, seed, "sample") for photo in photos]
    drawn = sorted(range(len(photos)), key=lambda row: (shares[row], photos[row].id))[:limit]
    return [photos[row] for row in sorted(drawn)]


def with_products(
    photos: Sequence[CatalogPhoto], workers: int, progress: Progress
) -> tuple[list[CatalogPhoto], tuple[str, ...]]:
    """The readable photos with their product, and a line for each that is not readable.

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
        raise DatasetError(
            f"none of the {len(photos)} photos can be read, the first: {thumbnails[0].fault}"
        )
    shots = near_identical(
        np.stack([pixels for _, pixels in readable if pixels is not None]), progress=progress
    )
    return (
        _with_first_ids([photo for photo, _ in readable], shots.tolist()),
        tuple(thumbnail.fault for thumbnail in thumbnails if thumbnail.fault),
    )


def default_min_category(photos: int) -> int:
    """Photos that a category needs for a gallery of its own, in a catalogue of so many."""
    return min(_LARGEST_DEFAULT, max(_LEAST_DEFAULT, photos // _SHARE_OF_ALL))


def small_categories(photos: Sequence[CatalogPhoto], min_category: int) -> dict[str, int]:
    """The categories of fewer than `min_category` photos with their sizes, the largest first.

    A category that would be the only small one keeps its gallery.
    """
    sizes = Counter(photo.own_category for photo in photos)
    small = {category: n for category, n in sizes.most_common() if n < min_category}
    return small if len(small) > 1 else {}


def with_categories(photos: Sequence[CatalogPhoto], small: Mapping[str, int]) -> list[CatalogPhoto]:
    """The photos with their category of the dataset: `POOLED` for those of small categories."""
    return [
        replace(photo, category=POOLED if photo.own_category in small else photo.own_category)
        for photo in photos
    ]


def with_splits(photos: Sequence[CatalogPhoto], seed: int) -> list[CatalogPhoto]:
    """The photos with their split: the one that is given, or that of their product.

    A product's is the one that is given to a near-copy; of several, the one held out the longest.
    """
    given: dict[str, Split] = {}
    for photo in photos:
        if photo.given_split:
            of_product = given.get(photo.product, photo.given_split)
            given[photo.product] = max(of_product, photo.given_split, key=SPLITS.index)
    return [
        replace(
            photo,
            split=photo.given_split or given.get(photo.product) or split_of(photo.product, seed),
        )
        for photo in photos
    ]


def split_of(product: str, seed: int) -> Split:
    """The split of a product: train with 70 %, val and test with 15 % each."""
    share = _share(product, seed, "split")
    if share < _VAL_FROM:
        return "train"
    return "val" if share < _TEST_FROM else "test"


def torn_products(photos: Sequence[CatalogPhoto]) -> int:
    """Photos whose near-copies stand in another split, because the splits were given so."""
    splits: dict[str, set[Split]] = {}
    for photo in photos:
        splits.setdefault(photo.product, set()).add(photo.split)
    return sum(len(splits[photo.product]) > 1 for photo in photos)


def _with_first_ids(photos: Sequence[CatalogPhoto], shots: Sequence[int]) -> list[CatalogPhoto]:
    first: dict[int, str] = {}
    for photo, shot in zip(photos, shots, strict=True):
        first[shot] = min(first.get(shot, photo.id), photo.id, key=_natural)
    return [replace(photo, product=first[shot]) for photo, shot in zip(photos, shots, strict=True)]


def _natural(text: str) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    """The order of ids in which 9 comes before 10, and 10 before a."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple(
        (False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts
    ), text


def _share(text: str, seed: int, purpose: str) -> float:
    """A hash of a text in [0, 1): SHA-256 of purpose, seed and text, its first eight bytes."""
    digest = hashlib.sha256(f"{purpose}\0{seed}\0{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
