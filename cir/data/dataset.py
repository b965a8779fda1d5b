"""A dataset folder, with whatever categories its files name, in either form of `cir.data.forms`.

* images in `images/`, flat or in folders of it; in CIRR's form also in `img_raw/`, `train/`, `dev/`
  and `test1/`, as its own files and those of CLIP4Cir have them
* `captions/cap.<category>.<split>.json`
* `image_splits/split.<category>.<split>.json`

Both folders of annotations may also lie in `cirr/`, beside the images.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np

from cir.data.forms import FormName, RowLocation, recognised
from cir.data.queries import Query
from cir.errors import DatasetError
from cir.files import read_json
from cir.types import Split

__all__ = ["IMAGE_SUFFIXES", "SPLITS", "Dataset", "Query", "hold_out"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS: tuple[Split, ...] = get_args(Split)
_INNER = "cirr"
"""Folder that may hold the annotations, beside those of the images."""


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
        inner = root / _INNER
        self._annotations = inner if (inner / "captions").is_dir() else root
        self._form = recognised(self._annotations)
        found = self._named("captions", "cap") | self._named("image_splits", "split")
        if not found:
            raise DatasetError(f"{root} holds no captions/cap.<category>.<split>.json")
        self.categories: tuple[str, ...] = tuple(sorted({category for category, _ in found}))
        self.splits: tuple[Split, ...] = tuple(
            s for s in SPLITS if s in {split for _, split in found}
        )

    @property
    def form(self) -> FormName:
        """Whose files these are like; evaluation keeps to that benchmark's rules."""
        return self._form.name

    def captions_file(self, category: str, split: Split) -> Path:
        """Where a category's queries of a split are."""
        return self._annotations / "captions" / self._file_name("cap", category, split)

    def split_file(self, category: str, split: Split) -> Path:
        """Where a category's image ids of a split are."""
        return self._annotations / "image_splits" / self._file_name("split", category, split)

    def queries(self, split: Split) -> list[Query]:
        """Every query of a split, category by category.

        Raises:
            DatasetError: the dataset has no queries of that split, or a row is malformed.
        """
        files = {c: self.captions_file(c, split) for c in self.categories}
        present = {c: file for c, file in files.items() if file.exists()}
        if not present:
            raise DatasetError(
                f"{self.root} has no split {split!r}: no captions/"
                f"{self._file_name('cap', '*', split)}; its splits are {', '.join(self.splits)}"
            )
        return [q for c, file in present.items() for q in self._read_queries(file, c, split)]

    def gallery(self, split: Split, category: str) -> list[str]:
        """The image ids of one category's split, in the file's order, each once."""
        file = self.split_file(category, split)
        return self._form.image_ids(read_json(file, DatasetError), file)

    def galleries(self, split: Split) -> dict[str, list[str]]:
        """`gallery` of each category that has the split; an image may stand in several."""
        present = [c for c in self.categories if self.split_file(c, split).exists()]
        if not present:
            raise DatasetError(
                f"{self.root} has no split {split!r}: no image_splits/"
                f"{self._file_name('split', '*', split)}; its splits are {', '.join(self.splits)}"
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
                f"no image file for {image_id}: expected {self.expected_file(image_id)}"
            ) from None

    def expected_file(self, image_id: str) -> Path:
        """Where an image that has no file might be put."""
        return self._image_folders[0] / f"{image_id}{IMAGE_SUFFIXES[0]}"

    @cached_property
    def image_files(self) -> dict[str, Path]:
        """Image id to file, for every image file of the folder."""
        found = [file for folder in self._image_folders for file in _image_files(folder)]
        return {file.stem: file for file in sorted(found)}

    @property
    def _image_folders(self) -> list[Path]:
        """Those of the form that there are, or the one that should be."""
        folders = [self.root / name for name in self._form.image_folders]
        return [folder for folder in folders if folder.is_dir()] or folders[:1]

    def _file_name(self, prefix: str, category: str, split: Split) -> str:
        return f"{prefix}.{category}.{self._form.written[split]}.json"

    def _named(self, folder: str, prefix: str) -> set[tuple[str, Split]]:
        """(category, split) of every annotation file in a folder."""
        split_of = {written: split for split, written in self._form.written.items()}
        pattern = re.compile(rf"{prefix}\.(.+)\.({'|'.join(split_of)})\.json")
        files = (self._annotations / folder).glob("*.json")
        names = [pattern.fullmatch(file.name) for file in files]
        return {(match[1], split_of[match[2]]) for match in names if match}

    def _read_queries(self, file: Path, category: str, split: Split) -> list[Query]:
        rows = read_json(file, DatasetError)
        if not isinstance(rows, list):
            raise DatasetError(f"{file}: expected a list of queries, found {type(rows).__name__}")
        places = (RowLocation(file, category, split, number) for number in range(len(rows)))
        queries = [self._form.query(row, place) for row, place in zip(rows, places, strict=True)]
        if len({query.id for query in queries}) < len(queries):
            raise DatasetError(f"{file}: several rows have one pairid; expected each once")
        return queries

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


def _image_files(folder: Path) -> Iterator[Path]:
    """Image files in a folder and in the folders it holds; none where there is no folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _image_files(Path(entry.path))
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(entry.path)
