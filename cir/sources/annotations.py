"""The annotations of a dataset folder that this package makes itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cir.data.records import damaged
from cir.disk.files import read_json, write_json
from cir.errors import DatasetError
from cir.names import CAPTIONS, IMAGE_SPLITS, RECORD_FILES, RECORD_KEY
from cir.types import Split


@dataclass(frozen=True)
class QueryRow:
    """A query as a captions file holds it."""

    reference: str
    targets: Sequence[str]
    """The first is the one trained on."""
    captions: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """The row with FashionIQ's keys, and `targets` for every photo that fits."""
        return {
            "candidate": self.reference,
            "target": self.targets[0],
            "targets": list(self.targets),
            "captions": list(self.captions),
        }


@dataclass(frozen=True)
class CategorySplitCount:
    """Figures of one category's split."""

    category: str
    split: Split
    images: int
    queries: int
    targets: float
    """Images that fit a query, on average."""


@dataclass(frozen=True)
class CategorySplit:
    """One category's split: its images and its queries."""

    category: str
    split: Split
    ids: Sequence[str]
    queries: Sequence[QueryRow]

    def count(self) -> CategorySplitCount:
        """How many images, queries and targets there are."""
        targets = sum(len(query.targets) for query in self.queries) / max(len(self.queries), 1)
        return CategorySplitCount(
            self.category, self.split, len(self.ids), len(self.queries), targets
        )


@dataclass(frozen=True)
class PhotoRecord:
    """What is known about a photo beyond its pixels."""

    category: str
    split: Split
    title: str
    attributes: Mapping[str, str]
    file: str = ""
    """Where the photo lay in the folder that it came from; empty where it was drawn."""
    own_category: str = ""
    """The catalogue's category, where `category` is shared by small ones; empty where it is not."""
    product: str = ""
    """The first of the photo's near-copies, where that is another; empty where it is the photo."""

    def to_json(self) -> dict[str, Any]:
        """The record's fields, but for what is empty of the last three."""
        told = {"file": self.file, "own_category": self.own_category, "product": self.product}
        return {
            "category": self.category,
            "split": self.split,
            "title": self.title,
            "attributes": dict(self.attributes),
            **{name: value for name, value in told.items() if value},
        }


def write_annotations(root: Path, splits: Sequence[CategorySplit]) -> None:
    """Writes image_splits/split.*.json, and captions/cap.*.json where there are queries.

    The folder is one that is written aside as a whole: each file for itself is not, which would
    take minutes with hundreds of categories.
    """
    for split in splits:
        name = f"{split.category}.{split.split}.json"
        write_rows(root / IMAGE_SPLITS / f"split.{name}", list(split.ids))
        if split.queries:
            rows = [query.to_json() for query in split.queries]
            write_rows(root / CAPTIONS / f"cap.{name}", rows)


def write_rows(file: Path, value: list[Any]) -> None:
    """Writes a list as JSON, into a folder that nobody else sees yet."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_records(file: Path, records: Mapping[str, PhotoRecord], more: Mapping[str, Any]) -> None:
    """Writes the records by photo id, and `more` beside them."""
    photos = {photo: record.to_json() for photo, record in records.items()}
    write_json(file, {RECORD_KEY: photos, **more})


def read_records(dataset: Path, splits: Sequence[Split]) -> dict[str, PhotoRecord]:
    """The records of a dataset that `cir data` made, by photo id, sorted.

    Raises:
        DatasetError: the folder holds no records, or none of those splits.
    """
    file = next((dataset / name for name in RECORD_FILES if (dataset / name).is_file()), None)
    if file is None:
        raise DatasetError(
            f"{dataset} holds neither {' nor '.join(RECORD_FILES)}: expected a folder that "
            f"cir data from-catalog, from-folder or synth made"
        )
    held = read_json(file, DatasetError)
    try:
        records = {photo: PhotoRecord(**row) for photo, row in sorted(held[RECORD_KEY].items())}
    except (AttributeError, KeyError, TypeError) as fault:
        raise damaged(file, fault) from fault
    chosen = {photo: record for photo, record in records.items() if record.split in splits}
    if not chosen:
        raise DatasetError(f"{file} names no photo of the split {' or '.join(splits)}")
    return chosen
