"""A dataset with more queries to train on: those that it has, and worded pairs of its photos.

The new queries stand behind the others in `captions/cap.<category>.train.json`, so that the ids of
the others stay. `added.json` says where they came from, and what was left out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.pairs import LeftOutPair, ProposedPair, by_reason
from cir.data.shards import shard_of
from cir.disk.files import read_json, write_json
from cir.disk.outputs import folder_made
from cir.errors import DatasetError, UsageError
from cir.names import ADDED_FILE, RECORD_FILES
from cir.sources.annotations import QueryRow
from cir.sources.links import copy_bytes, link_or_copy, require_link

_REASONS: Final = 3
"""Reasons that an error names, the most frequent ones."""


@dataclass(frozen=True)
class PairsOrigin:
    """Where pairs came from."""

    file: Path
    sha256: str
    metadata: Mapping[str, Any]
    """What the file says of itself."""


@dataclass(frozen=True)
class AddedQueries:
    """What was added, and what was not."""

    by_category: Mapping[str, int]
    left_out: tuple[LeftOutPair, ...]


def add_queries(
    dataset: Dataset,
    pairs: Sequence[ProposedPair],
    out: Path,
    *,
    origin: PairsOrigin,
    link: str = "hardlink",
) -> AddedQueries:
    """Writes a dataset folder: that of `dataset` with pairs as further queries to train on.

    Only photos that are of the training split and of no other become part of a new query.

    Args:
        dataset: In FashionIQ's form; it stays as it is.
        pairs: With captions; one that cannot be used is left out, and counted.
        out: Folder to make; one that is there is replaced.
        origin: Where the pairs came from, for the record.
        link: hardlink, symlink or copy.

    Raises:
        UsageError: `link` is unknown, the dataset is in another form, or `out` is
            no dataset folder of cir.
        DatasetError: the annotations are malformed, or no pair can be used.
    """
    require_link(link)
    _require_form(dataset)
    usable, left_out = _sorted_out(_Usable(dataset), pairs)
    if not usable:
        raise DatasetError(f"{origin.file}: none of {len(pairs)} pairs can be used{_why(left_out)}")
    with folder_made(out, "dataset", {"dataset": dataset.root, "pairs": origin.file}) as aside:
        _link_photos(dataset, aside, link)
        _copy_annotations(dataset, aside)
        ids = _append(dataset, usable, aside, origin)
        write_json(aside / ADDED_FILE, [*_earlier(dataset), _record(origin, ids, left_out)])
    return AddedQueries(Counter(pair.category for pair in usable), tuple(left_out))


def _require_form(dataset: Dataset) -> None:
    if dataset.form != "FashionIQ":
        raise UsageError(
            f"`dataset` is {dataset.root}, in {dataset.form}'s form; expected FashionIQ's: its "
            f"queries have no place for the targets and source of new ones"
        )


@dataclass
class _Usable:
    """Which pairs can become queries of a dataset."""

    dataset: Dataset
    galleries: Mapping[str, frozenset[str]] = field(init=False)
    """Photos of the training split by category."""
    others: frozenset[str] = field(init=False)
    """Photos of the other splits."""
    known: set[tuple[str, str, str]] = field(init=False)
    """(category, reference, target) of every query there is."""

    def __post_init__(self) -> None:
        galleries = self.dataset.galleries("train")
        self.galleries = {category: frozenset(ids) for category, ids in galleries.items()}
        self.others = frozenset(
            photo
            for split in self.dataset.splits
            if split != "train"
            for ids in self.dataset.galleries(split).values()
            for photo in ids
        )
        self.known = {
            (query.category, query.reference_id, target)
            for query in self.dataset.queries("train")
            for target in query.target_ids
        }

    def category(self, pair: ProposedPair) -> str:
        """The category that a pair names, or else the first that has all of its photos."""
        photos = {pair.reference_id, *pair.every_target_id}
        fitting = (name for name, ids in self.galleries.items() if photos <= ids)
        return pair.category or next(fitting, "")

    def reason(self, pair: ProposedPair, category: str) -> str:
        """Why a pair cannot become a query; empty where it can."""
        photos = {pair.reference_id, *pair.every_target_id}
        if not joined(pair.captions):
            return "no caption"
        if not photos <= self.others.union(*self.galleries.values()):
            return "a photo that the dataset does not name"
        if photos & self.others:
            return "a photo of another split than train"
        if not photos <= self.galleries.get(category, frozenset()):
            return "photos that are not of one category"
        if pair.reference_id in pair.every_target_id:
            return "the reference is a target"
        if (category, pair.reference_id, pair.target_id) in self.known:
            return "already a query"
        return ""


def _sorted_out(
    usable: _Usable, pairs: Sequence[ProposedPair]
) -> tuple[list[ProposedPair], list[LeftOutPair]]:
    """The pairs that become queries, under their category, and the others.

    Of pairs that share reference and target the first is new, and the others are queries already.
    """
    kept, left_out = [], []
    for pair in pairs:
        category = usable.category(pair)
        reason = usable.reason(pair, category)
        if reason:
            left_out.append(LeftOutPair(pair, reason))
        else:
            kept.append(replace(pair, category=category))
            usable.known.add((category, pair.reference_id, pair.target_id))
    return kept, left_out


def _why(left_out: Sequence[LeftOutPair]) -> str:
    counts = Counter(each.reason for each in left_out).most_common(_REASONS)
    return f": {', '.join(f'{reason} ({count})' for reason, count in counts)}" if counts else ""


def _link_photos(dataset: Dataset, aside: Path, link: str) -> None:
    for file in dict.fromkeys(shard_of(file) or file for file in dataset.image_files.values()):
        copy = aside / file.relative_to(dataset.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(file, copy, link)


def _copy_annotations(dataset: Dataset, aside: Path) -> None:
    """Copies captions, splits and, where there are some, the records of photos."""
    for file in (*_annotations(dataset), *(dataset.root / name for name in RECORD_FILES)):
        if file.exists():
            copy = aside / file.relative_to(dataset.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy_bytes(file, copy)


def _annotations(dataset: Dataset) -> Iterator[Path]:
    for split in dataset.splits:
        for category in dataset.categories:
            yield dataset.captions_file(category, split)
            yield dataset.split_file(category, split)


def _append(
    dataset: Dataset, pairs: Sequence[ProposedPair], aside: Path, origin: PairsOrigin
) -> list[str]:
    """Writes pairs behind the queries of their categories; the ids of the new queries."""
    for category in sorted({pair.category for pair in pairs}):
        file = dataset.captions_file(category, "train")
        rows = read_json(file, DatasetError) if file.exists() else []
        added = [_row(pair, origin) for pair in pairs if pair.category == category]
        write_json(aside / file.relative_to(dataset.root), [*rows, *added])
    before = {query.id for query in dataset.queries("train")}
    return [query.id for query in Dataset(aside).queries("train") if query.id not in before]


def _row(pair: ProposedPair, origin: PairsOrigin) -> dict[str, Any]:
    row = QueryRow(pair.reference_id, pair.every_target_id, pair.captions)
    return row.to_json() | {"source": pair.source or origin.file.name}


def _earlier(dataset: Dataset) -> list[Any]:
    """What was added to the dataset before."""
    file = dataset.root / ADDED_FILE
    added = read_json(file, DatasetError) if file.exists() else []
    if not isinstance(added, list):
        raise DatasetError(f"{file}: expected a list of additions, found {type(added).__name__}")
    return added


def _record(
    origin: PairsOrigin, ids: Sequence[str], left_out: Sequence[LeftOutPair]
) -> dict[str, Any]:
    return {
        "pairs": str(origin.file),
        "pairs_sha256": origin.sha256,
        "pairs_metadata": dict(origin.metadata),
        "query_ids": list(ids),
        "left_out": by_reason(left_out),
    }
