"""What is left of a dataset whose images are not all there, as a dataset folder of its own.

FashionIQ and other benchmarks publish addresses of photos, many of which lead nowhere by now.
Figures on what is left are comparable with each other, and with published ones only as far as
`rank_in_whole` tells.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cir import __version__
from cir.data.audit import Audit
from cir.data.dataset import Dataset
from cir.data.forms import FORMS
from cir.data.queries import Query
from cir.data.records import records_without
from cir.disk.files import read_json, write_json
from cir.disk.outputs import folder_made
from cir.errors import DatasetError
from cir.names import CAPTIONS, IMAGE_SPLITS, LEFT_OUT_FILE
from cir.types import Split


@dataclass(frozen=True)
class SplitRemainder:
    """What is left of one category's split."""

    category: str
    split: Split
    images: int
    images_whole: int
    queries: int
    """Those whose reference and at least one target are left."""
    queries_whole: int
    targets_lost: int
    """Targets that queries which are left have lost."""
    subsets_cut: int
    """Queries that are left whose subset has lost images."""

    @property
    def is_kept(self) -> bool:
        """Whether it is written: some image is left, and of queries, where it had some, one."""
        return bool(self.images and (self.queries or not self.queries_whole))


def remainder(dataset: Dataset, absent: Collection[str]) -> tuple[SplitRemainder, ...]:
    """Counts what each split keeps without some images.

    Args:
        dataset: The whole.
        absent: Ids of images that are missing or broken (`Audit.absent`).

    Raises:
        DatasetError: an annotation file is malformed.
    """
    return tuple(part for split in dataset.splits for part in _parts(dataset, split, absent))


def rank_in_whole(k: float, share: float) -> float:
    """The K of the whole gallery that Recall@`k` in a part of it stands for.

    A target of rank r has r - 1 images before it. Where each is left with probability `share`, its
    rank becomes 1 + (r - 1) share on average, which is at most k where r is at most this.

    Args:
        k: K in what is left.
        share: Share of the images that are left, more than 0.
    """
    return 1 + (k - 1) / share


def write_remainder(dataset: Dataset, audit: Audit, out: Path) -> tuple[SplitRemainder, ...]:
    """Writes a dataset folder without what is missing or broken, and what names it.

    Rows of captions keep their order and lose targets and members of subsets that are gone; a query
    whose reference or last target is gone is left out. Image folders are linked, not copied.

    Args:
        dataset: The whole, which stays as it is.
        audit: Of its images.
        out: The folder to make, in the place of any that is there.

    Returns:
        What is left of each split.

    Raises:
        DatasetError: nothing is left.
    """
    parts = remainder(dataset, audit.absent)
    kept = [part for part in parts if part.is_kept]
    if not kept:
        raise DatasetError(
            f"nothing of {dataset.root} is left: {len(audit.missing):,} images are missing and "
            f"{len(audit.broken):,} broken"
        )
    records = records_without(dataset.root, audit.absent)
    with folder_made(out, "dataset", {"dataset": dataset.root}) as aside:
        for name, held in records.items():
            write_json(aside / name, held)
        for part in kept:
            _write_part(dataset, part, audit.absent, aside)
        for folder in dataset.image_folders:
            (aside / folder.name).symlink_to(folder.resolve(), target_is_directory=True)
        write_json(aside / LEFT_OUT_FILE, _record(dataset, audit, parts))
    return parts


def _parts(dataset: Dataset, split: Split, absent: Collection[str]) -> Iterator[SplitRemainder]:
    of_category = defaultdict(list)
    for query in dataset.queries_or_none(split):
        of_category[query.category].append(query)
    for category in dataset.categories:
        queries, gallery = of_category[category], _gallery(dataset, category, split)
        if queries or gallery:
            yield _part(category, split, queries, gallery, set(gallery).difference(absent))


def _part(
    category: str,
    split: Split,
    queries: Sequence[Query],
    gallery: Sequence[str],
    kept: set[str],
) -> SplitRemainder:
    left = [query for query in queries if _is_left(query, kept)]
    return SplitRemainder(
        category=category,
        split=split,
        images=len(kept),
        images_whole=len(gallery),
        queries=len(left),
        queries_whole=len(queries),
        targets_lost=sum(target not in kept for query in left for target in query.target_ids),
        subsets_cut=sum(not kept.issuperset(query.subset_ids) for query in left),
    )


def _is_left(query: Query, kept: set[str]) -> bool:
    """Whether its reference is there and, where it has targets, one of them."""
    targets = query.target_ids
    return query.reference_id in kept and (not targets or any(i in kept for i in targets))


def _gallery(dataset: Dataset, category: str, split: Split) -> list[str]:
    exists = dataset.split_file(category, split).exists()
    return dataset.gallery(split, category) if exists else []


def _write_part(
    dataset: Dataset, part: SplitRemainder, absent: Collection[str], folder: Path
) -> None:
    """Writes both files of a split, whose reading was without fault before."""
    split_file = dataset.split_file(part.category, part.split)
    ids = read_json(split_file, DatasetError)
    kept = [i for i in dict.fromkeys(ids) if i not in absent]
    listed = {i: ids[i] for i in kept} if isinstance(ids, dict) else kept
    write_json(folder / IMAGE_SPLITS / split_file.name, listed)
    captions_file = dataset.captions_file(part.category, part.split)
    if captions_file.exists():
        rows = _rows(dataset, part, set(kept))
        write_json(folder / CAPTIONS / captions_file.name, rows)


def _rows(dataset: Dataset, part: SplitRemainder, kept: set[str]) -> list[dict[str, Any]]:
    rows = read_json(dataset.captions_file(part.category, part.split), DatasetError)
    queries = [q for q in dataset.annotated_queries(part.split) if q.category == part.category]
    within = FORMS[dataset.form].row_within
    return [
        within(row, kept) for row, query in zip(rows, queries, strict=True) if _is_left(query, kept)
    ]


def _record(dataset: Dataset, audit: Audit, parts: Sequence[SplitRemainder]) -> dict[str, Any]:
    return {
        "cir_version": __version__,
        "source": str(dataset.root.resolve()),
        "missing": list(audit.missing),
        "broken": dict(audit.broken),
        "splits": [asdict(part) for part in parts],
    }
