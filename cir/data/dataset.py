"""A dataset folder of the FashionIQ layout, with whatever categories its files name.

* `images/<id>.(jpg|jpeg|png)` or `images/<category>/<id>.*`
* `captions/cap.<category>.<split>.json`: `[{candidate, target | targets, captions}, ...]`
* `image_splits/split.<category>.<split>.json`: `[id, ...]`
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from cir.errors import DatasetError
from cir.files import read_json
from cir.types import Split

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Query:
    """A reference image and the captions that modify it."""

    id: str
    """`<category>-<split>-<row>`: stable while the captions file is."""
    category: str
    reference_id: str
    captions: tuple[str, ...]
    target_ids: tuple[str, ...]
    """The targets that count as a hit; the first is the one trained on. Empty in a test split."""

    @property
    def target_id(self) -> str:
        """The target that training pulls towards."""
        return self.target_ids[0]


class Dataset:
    """Reads annotations when they are asked for, and finds image files by id."""

    def __init__(self, root: Path) -> None:
        """Opens the folder `root`.

        Raises:
            DatasetError: the folder or its annotations are missing.
        """
        self.root = root
        if not root.is_dir():
            raise DatasetError(
                f"no dataset folder at {root}: expected images/, captions/, image_splits/"
            )
        found = _annotations(root / "captions", "cap") | _annotations(
            root / "image_splits", "split"
        )
        if not found:
            raise DatasetError(f"{root} holds no captions/cap.<category>.<split>.json")
        self.categories: tuple[str, ...] = tuple(sorted({category for category, _ in found}))
        self.splits: tuple[Split, ...] = tuple(
            s for s in SPLITS if s in {split for _, split in found}
        )

    def captions_file(self, category: str, split: Split) -> Path:
        """Where a category's queries of a split are."""
        return self.root / "captions" / f"cap.{category}.{split}.json"

    def split_file(self, category: str, split: Split) -> Path:
        """Where a category's image ids of a split are."""
        return self.root / "image_splits" / f"split.{category}.{split}.json"

    def queries(self, split: Split) -> list[Query]:
        """Every query of a split, category by category.

        Raises:
            DatasetError: the dataset has no queries of that split, or a row is malformed.
        """
        files = {c: self.captions_file(c, split) for c in self.categories}
        present = {c: file for c, file in files.items() if file.exists()}
        if not present:
            raise DatasetError(
                f"{self.root} has no split {split!r}: no captions/cap.*.{split}.json; "
                f"its splits are {', '.join(self.splits)}"
            )
        return [query for c, file in present.items() for query in _read_queries(file, c, split)]

    def gallery(self, split: Split, category: str) -> list[str]:
        """The image ids of one category's split, in the file's order, each once."""
        file = self.split_file(category, split)
        ids = read_json(file, DatasetError)
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise DatasetError(f"{file}: expected a list of image ids")
        return list(dict.fromkeys(ids))

    def galleries(self, split: Split) -> dict[str, list[str]]:
        """`gallery` of each category that has the split; an image may stand in several."""
        present = [c for c in self.categories if self.split_file(c, split).exists()]
        if not present:
            raise DatasetError(
                f"{self.root} has no split {split!r}: no image_splits/split.*.{split}.json; "
                f"its splits are {', '.join(self.splits)}"
            )
        return {category: self.gallery(split, category) for category in present}

    def image_ids(self) -> list[str]:
        """Every image id of every split, sorted, each once."""
        return sorted({i for s in self.splits for ids in self._galleries_or_none(s) for i in ids})

    def image_path(self, image_id: str) -> Path:
        """The file of an image.

        Raises:
            DatasetError: there is none.
        """
        try:
            return self.image_files[image_id]
        except KeyError:
            raise DatasetError(
                f"no image file for {image_id}: expected {self.root}/images/{image_id}.jpg"
            ) from None

    @cached_property
    def image_files(self) -> dict[str, Path]:
        """Image id to file, for every image file under images/."""
        folder = self.root / "images"
        return {file.stem: file for file in sorted(_image_files(folder))} if folder.is_dir() else {}

    def _galleries_or_none(self, split: Split) -> Iterable[list[str]]:
        files = [self.split_file(c, split) for c in self.categories]
        return self.galleries(split).values() if any(f.exists() for f in files) else ()


def hold_out(
    queries: Sequence[Query], fraction: float, seed: int
) -> tuple[list[Query], list[Query]]:
    """Splits queries into (train, dev) by reference, so that siblings stay together.

    Args:
        queries: Queries of the training split.
        fraction: Share of each category's references that go to dev, in (0, 1).
        seed: Decides which.

    Raises:
        DatasetError: one of the two would be empty.
    """
    held: set[tuple[str, str]] = set()
    for category in sorted({q.category for q in queries}):
        references = sorted({q.reference_id for q in queries if q.category == category})
        order = np.random.default_rng([seed, len(references)]).permutation(len(references))
        held.update((category, references[i]) for i in order[: round(fraction * len(references))])
    train = [q for q in queries if (q.category, q.reference_id) not in held]
    dev = [q for q in queries if (q.category, q.reference_id) in held]
    if not train or not dev:
        raise DatasetError(
            f"a dev split of {fraction:g} leaves {len(train)} queries to train on and {len(dev)} "
            f"to choose the best epoch by: expected both above 0"
        )
    return train, dev


def _annotations(folder: Path, prefix: str) -> set[tuple[str, Split]]:
    pattern = re.compile(rf"{prefix}\.(.+)\.({'|'.join(SPLITS)})\.json")
    names = [pattern.fullmatch(file.name) for file in folder.glob("*.json")]
    return {(match[1], match[2]) for match in names if match}  # type: ignore[misc]


def _image_files(folder: Path) -> Iterable[Path]:
    """Image files in a folder and in the folders it holds."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _image_files(Path(entry.path))
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(entry.path)


def _read_queries(file: Path, category: str, split: Split) -> list[Query]:
    rows = read_json(file, DatasetError)
    if not isinstance(rows, list):
        raise DatasetError(f"{file}: expected a list of queries, found {type(rows).__name__}")
    return [
        _query(row, f"{category}-{split}-{number:05d}", category, f"{file}, row {number}")
        for number, row in enumerate(rows)
    ]


def _query(row: Any, query_id: str, category: str, where: str) -> Query:
    """One row; `targets` where a query has several, `target` first."""
    if not isinstance(row, dict) or not isinstance(row.get("candidate"), str):
        raise DatasetError(f"{where}: expected an object with a candidate id")
    captions, targets = row.get("captions"), row.get("targets", [])
    if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
        raise DatasetError(f"{where}: expected captions as a list of texts")
    named = [row["target"], *targets] if "target" in row else list(targets)
    if not all(isinstance(target, str) for target in named):
        raise DatasetError(f"{where}: expected target ids as texts")
    return Query(
        id=query_id,
        category=category,
        reference_id=row["candidate"],
        captions=tuple(captions),
        target_ids=tuple(dict.fromkeys(named)),
    )
