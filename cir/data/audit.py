"""An audit of a dataset folder: what it holds, what it lacks, what its figures rest on."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cir.data.dataset import Dataset
from cir.data.forms import FormName
from cir.data.images import decode_image, image_bytes
from cir.data.queries import Query
from cir.errors import ImageError, printable
from cir.machine.parallel import in_order
from cir.progress import SILENT, Progress
from cir.types import Split

_ENOUGH: Final = 64
"""Pixels of the shorter edge at which a photo is decoded: damage shows at any size."""


@dataclass(frozen=True)
class SplitCount:
    """One category's split, counted."""

    category: str
    split: Split
    images: int
    queries: int
    in_queries: int
    """Distinct images that its queries name: the size of the `val` gallery."""
    shared_references: int
    """Queries whose reference has other targets too."""
    ambiguous: int
    """(reference, captions) groups with several targets."""
    empty_captions: int
    outside_subset: int
    """Queries whose subset lacks their target."""


@dataclass(frozen=True)
class Audit:
    """What a dataset folder holds and lacks."""

    form: FormName
    splits: tuple[SplitCount, ...]
    images: int
    """Distinct image ids of all splits."""
    images_in_queries: int
    in_several_categories: Mapping[Split, int]
    """Images that stand in several categories of one split."""
    val_targets_seen_in_train: int
    """Targets of val that queries of train name too."""
    unknown: Mapping[str, tuple[str, ...]]
    """Ids that a captions file names and its image split does not, by captions file."""
    missing: tuple[str, ...]
    """Ids without an image file."""
    broken: Mapping[str, str]
    """Ids whose file cannot be read, with the reason."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of ids whose files hold the same bytes."""
    unlisted: tuple[str, ...]
    """Ids of image files that no image split names: no stage reads them."""
    closed_folders: tuple[str, ...]
    """A line for each folder of images that could not be looked into."""
    images_opened: bool

    @property
    def absent(self) -> frozenset[str]:
        """Ids without an image that can be read."""
        return frozenset((*self.missing, *self.broken))

    @property
    def complete(self) -> bool:
        """Whether every stage finds what it needs."""
        return not (self.unknown or self.missing or self.broken)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return asdict(self) | {"complete": self.complete}


def audit(
    dataset: Dataset, *, images: bool = True, workers: int = 1, progress: Progress = SILENT
) -> Audit:
    """Reads all annotations and, unless `images` is False, opens every image.

    Args:
        dataset: The folder to audit.
        images: Whether image files are looked for and decoded.
        workers: Processes that decode.
        progress: Told of every image opened.

    Raises:
        DatasetError: an annotation file is malformed.
    """
    queries = {split: dataset.queries_or_none(split) for split in dataset.splits}
    galleries = {split: dataset.galleries(split) for split in dataset.splits}
    ids = dataset.image_ids()
    files = dataset.image_files if images else {}
    broken, digests = _open_all({i: files[i] for i in ids if i in files}, workers, progress)
    return Audit(
        form=dataset.form,
        splits=tuple(
            _count_split(category, split, gallery, _of_category(queries[split], category))
            for split, by_category in galleries.items()
            for category, gallery in by_category.items()
        ),
        images=len(ids),
        images_in_queries=len(_query_images(q for some in queries.values() for q in some)),
        in_several_categories={s: _in_several(g.values()) for s, g in galleries.items()},
        val_targets_seen_in_train=_targets_in(queries.get("train", []), queries.get("val", [])),
        unknown=_unknown(dataset, queries),
        missing=tuple(i for i in ids if i not in files) if images else (),
        broken=broken,
        duplicates=_duplicates(digests),
        unlisted=dataset.unlisted if images else (),
        closed_folders=dataset.image_listing.faults if images else (),
        images_opened=images,
    )


def _of_category(queries: Iterable[Query], category: str) -> list[Query]:
    return [query for query in queries if query.category == category]


def _query_images(queries: Iterable[Query]) -> set[str]:
    """The references and targets of some queries."""
    return {i for query in queries for i in (query.reference_id, *query.target_ids)}


def _count_split(
    category: str, split: Split, gallery: Sequence[str], queries: Sequence[Query]
) -> SplitCount:
    by_reference, by_text = defaultdict(set), defaultdict(set)
    for query in queries:
        by_reference[query.reference_id].add(query.target_ids)
        by_text[query.reference_id, query.captions].add(query.target_ids)
    return SplitCount(
        category=category,
        split=split,
        images=len(gallery),
        queries=len(queries),
        in_queries=len(_query_images(queries)),
        shared_references=sum(len(by_reference[query.reference_id]) > 1 for query in queries),
        ambiguous=sum(len(targets) > 1 for targets in by_text.values()),
        empty_captions=sum(any(not c.strip() for c in query.captions) for query in queries),
        outside_subset=sum(
            bool(query.subset_ids) and not set(query.target_ids) <= set(query.subset_ids)
            for query in queries
        ),
    )


def _in_several(galleries: Iterable[Sequence[str]]) -> int:
    times = Counter(image for gallery in galleries for image in gallery)
    return sum(count > 1 for count in times.values())


def _targets_in(train: Sequence[Query], val: Sequence[Query]) -> int:
    """How many targets of val the queries of train name too."""
    return len({t for query in val for t in query.target_ids} & _query_images(train))


def _unknown(
    dataset: Dataset, queries: Mapping[Split, Sequence[Query]]
) -> dict[str, tuple[str, ...]]:
    found = (dataset.outside_split(some, split) for split, some in queries.items())
    return {file: ids for outside in found for file, ids in outside.items()}


def _open_all(
    files: Mapping[str, Path], workers: int, progress: Progress
) -> tuple[dict[str, str], dict[str, str]]:
    """Id to fault of the broken images, and id to SHA-256 of the others."""
    broken: dict[str, str] = {}
    digests: dict[str, str] = {}
    with progress.task("audit", len(files), "images") as task:
        opened = in_order(_open_image, tuple(files.values()), workers)
        for image_id, (fault, digest) in zip(files, opened, strict=True):
            if fault:
                broken[image_id] = fault
            else:
                digests[image_id] = digest
            task.advance()
    return broken, digests


def _open_image(path: Path) -> tuple[str, str]:
    """(fault, "") of a broken image, ("", SHA-256) of a good one."""
    try:
        encoded = image_bytes(path)
        decode_image(encoded, path, least=_ENOUGH)
    except ImageError as fault:
        return printable(str(fault)), ""
    return "", hashlib.sha256(encoded).hexdigest()


def _duplicates(digests: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    groups = defaultdict(list)
    for image_id, digest in digests.items():
        groups[digest].append(image_id)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
