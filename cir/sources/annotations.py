"""Writes the annotations of a dataset folder that this package makes itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cir.files import write_json
from cir.types import Split

RECORD_KEY: Final = "photos"
"""Key of the per-photo records in catalog.json and synthetic.json."""


@dataclass(frozen=True)
class QueryRow:
    """A query as its captions file holds it."""

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
class Shelved:
    """One category's split: its photos and its queries."""

    category: str
    split: Split
    ids: Sequence[str]
    queries: Sequence[QueryRow]


@dataclass(frozen=True)
class PhotoRecord:
    """What is known about a photo beyond its pixels."""

    category: str
    split: Split
    title: str
    attributes: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The record's fields."""
        return {
            "category": self.category,
            "split": self.split,
            "title": self.title,
            "attributes": dict(self.attributes),
        }


def write_annotations(root: Path, shelves: Sequence[Shelved]) -> None:
    """Writes captions/cap.*.json and image_splits/split.*.json."""
    for shelf in shelves:
        name = f"{shelf.category}.{shelf.split}.json"
        rows = [query.to_json() for query in shelf.queries]
        write_json(root / "captions" / f"cap.{name}", rows)
        write_json(root / "image_splits" / f"split.{name}", list(shelf.ids))


def write_records(file: Path, records: Mapping[str, PhotoRecord], more: Mapping[str, Any]) -> None:
    """Writes the records by photo id, and `more` beside them."""
    photos = {photo: record.to_json() for photo, record in records.items()}
    write_json(file, {RECORD_KEY: photos, **more})
