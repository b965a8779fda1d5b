"""Several datasets as one: their photos, queries and splits, side by side.

A photo stays in its split, and a category of the same name is one category. Photos of different
datasets under one id would be one photo: they are refused, unless prefixes tell them apart.
`merged.json` says which datasets the folder was made of.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cir.data.dataset import SPLITS, Dataset
from cir.data.soundness import id_fault
from cir.disk.files import read_json, write_json
from cir.disk.outputs import folder_made
from cir.errors import DatasetError, UsageError, some_of
from cir.names import CAPTIONS, CATALOG_RECORDS, IMAGE_SPLITS, IMAGES, MERGED_FILE, RECORD_FILES
from cir.sources.annotations import PhotoRecord, read_records, write_records, write_rows
from cir.sources.links import link_or_copy, require_link
from cir.types import Split

_NAMING: Final = ("candidate", "target")
"""Keys of a captions row that hold an id; `targets` holds several."""


@dataclass(frozen=True)
class MergedDataset:
    """What one of the datasets gave."""

    dataset: str
    prefix: str
    photos: int
    """Ids that its splits name."""
    without_file: int
    """Those of them that have no file, here as there."""
    queries: int


def merge_datasets(
    datasets: Sequence[Dataset],
    out: Path,
    *,
    prefixes: Sequence[str] = (),
    link: str = "hardlink",
) -> tuple[MergedDataset, ...]:
    """Writes a dataset folder that holds several others.

    Args:
        datasets: Two or more, in FashionIQ's form; they stay as they are. Photos that no split of
            theirs names are left out.
        out: Folder to make; one that is there is replaced.
        prefixes: What stands before the ids of each dataset, which may be nothing; by default
            nothing stands before any.
        link: hardlink, symlink or copy.

    Raises:
        UsageError: `link` is unknown, a dataset is in another form, the prefixes are not as many as
            the datasets, or photos of two datasets would have one id.
        DatasetError: annotations are malformed.
    """
    require_link(link)
    parts = [_Part(*each) for each in zip(datasets, _prefixes(datasets, prefixes), strict=True)]
    for part in parts:
        part.require_fit()
    _require_apart(parts)
    inputs = {f"datasets[{number}]": part.dataset.root for number, part in enumerate(parts)}
    with folder_made(out, "dataset", inputs) as aside:
        _link_photos(parts, aside / IMAGES, link)
        _write_annotations(parts, aside)
        if records := {i: record for part in parts for i, record in part.records()}:
            write_records(aside / CATALOG_RECORDS, records, {})
        merged = tuple(part.summary() for part in parts)
        write_json(aside / MERGED_FILE, [vars(each) for each in merged])
    return merged


@dataclass(frozen=True)
class _Part:
    """A dataset, with the prefix of its ids."""

    dataset: Dataset
    prefix: str

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of its photos, as they will be."""
        return frozenset(self.prefix + i for i in self.dataset.image_ids())

    def require_fit(self) -> None:
        """Raises UsageError or DatasetError where it cannot become a part."""
        if self.dataset.form != "FashionIQ":
            raise UsageError(
                f"`datasets` name {self.dataset.root}, in {self.dataset.form}'s form; expected "
                f"FashionIQ's, of which several can be one"
            )
        self.dataset.require_sound()
        if fault := next(filter(None, map(id_fault, sorted(self.ids))), None):
            raise UsageError(f"`prefixes` hold {self.prefix!r}, which makes no ids: {fault}")

    def gallery(self, category: str, split: Split) -> list[str]:
        """The ids of a category's split, in order."""
        exists = self.dataset.split_file(category, split).exists()
        ids = self.dataset.gallery(split, category) if exists else []
        return [self.prefix + i for i in ids]

    def rows(self, category: str, split: Split) -> list[dict[str, Any]]:
        """The rows of a category's captions, in order."""
        file = self.dataset.captions_file(category, split)
        rows = read_json(file, DatasetError) if file.exists() else []
        return [self._renamed(row) for row in rows]

    def files(self) -> Iterator[tuple[str, Path]]:
        """Each photo's id and file, where it has one."""
        held = self.dataset.image_files
        return ((self.prefix + i, held[i]) for i in self.dataset.image_ids() if i in held)

    def records(self) -> Iterator[tuple[str, PhotoRecord]]:
        """What a catalogue knows about its photos; nothing where it is of none."""
        if any((self.dataset.root / name).is_file() for name in RECORD_FILES):
            for photo, record in read_records(self.dataset.root, SPLITS).items():
                product = self.prefix + record.product if record.product else ""
                yield self.prefix + photo, replace(record, product=product)

    def summary(self) -> MergedDataset:
        """What it gives."""
        ids = self.dataset.image_ids()
        return MergedDataset(
            dataset=str(self.dataset.root),
            prefix=self.prefix,
            photos=len(ids),
            without_file=sum(i not in self.dataset.image_files for i in ids),
            queries=sum(len(self.dataset.queries_or_none(s)) for s in self.dataset.splits),
        )

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with the prefix before each id."""
        one = {key: self.prefix + row[key] for key in _NAMING if key in row}
        several = {"targets": [self.prefix + i for i in row["targets"]]} if "targets" in row else {}
        return {**row, **one, **several}


def _prefixes(datasets: Sequence[Dataset], prefixes: Sequence[str]) -> Sequence[str]:
    if not prefixes:
        return [""] * len(datasets)
    if len(prefixes) != len(datasets):
        raise UsageError(
            f"`prefixes` are {len(prefixes)}; expected {len(datasets)}, one of each dataset, in "
            f"order; an empty one leaves ids as they are"
        )
    return prefixes


def _require_apart(parts: Sequence[_Part]) -> None:
    """Raises UsageError where photos of two datasets have one id."""
    for number, later in enumerate(parts):
        for earlier in parts[:number]:
            if common := sorted(later.ids & earlier.ids):
                raise UsageError(
                    f"{len(common):,} ids are photos of {earlier.dataset.root} and of "
                    f"{later.dataset.root}: {some_of(common)}; pass `prefixes`, one of each "
                    f"dataset, to tell them apart"
                )


def _link_photos(parts: Sequence[_Part], folder: Path, link: str) -> None:
    folder.mkdir()
    for part in parts:
        for photo, file in part.files():
            link_or_copy(file, folder / f"{photo}{file.suffix.lower()}", link)


def _write_annotations(parts: Sequence[_Part], root: Path) -> None:
    """Writes the splits and captions of each category, those of the first dataset first."""
    for category in sorted({name for part in parts for name in part.dataset.categories}):
        for split in SPLITS:
            name = f"{category}.{split}.json"
            if ids := [i for part in parts for i in part.gallery(category, split)]:
                write_rows(root / IMAGE_SPLITS / f"split.{name}", ids)
            if rows := [row for part in parts for row in part.rows(category, split)]:
                write_rows(root / CAPTIONS / f"cap.{name}", rows)
