"""A dataset folder, with whatever categories its files name, in either form of `cir.data.forms`.

* images in `images/`, flat or in folders of it; in CIRR's form also in `img_raw/`, `train/`, `dev/`
  and `test1/`, where CIRR and CLIP4Cir put them
* `captions/cap.<category>.<split>.json`
* `image_splits/split.<category>.<split>.json`

Both folders of annotations may also lie in `cirr/`, beside the images.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import get_args

from cir.data.formats import IMAGE_SUFFIXES
from cir.data.forms import FormName, RowLocation, recognise_form
from cir.data.image_files import Listing, by_id, list_images, require_one_each, why_missing
from cir.data.photo_paths import PathsById
from cir.data.queries import Query
from cir.data.soundness import id_fault, outside_split, query_faults
from cir.disk.files import read_json, require_folder
from cir.errors import DatasetError, printable
from cir.names import CAPTIONS, IMAGE_SPLITS
from cir.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
_INNER = "cirr"
"""Folder that may hold the annotations, beside those of the images."""


class Dataset:
    """Reads annotations when they are asked for, and finds image files by id."""

    def __init__(self, root: Path | str) -> None:
        """Opens the folder `root`.

        Raises:
            DatasetError: the folder or its annotations are missing.
        """
        self.root = root = Path(root)
        expected = "expected images/, captions/, image_splits/"
        require_folder(root, DatasetError, f"no dataset folder at {root}: {expected}")
        inner = root / _INNER
        self._annotations = inner if (inner / CAPTIONS).is_dir() else root
        self._form = recognise_form(self._annotations)
        parts = self._annotated(CAPTIONS, "cap") | self._annotated(IMAGE_SPLITS, "split")
        if not parts:
            raise DatasetError(f"{root} holds no captions/cap.<category>.<split>.json")
        self.categories: tuple[str, ...] = tuple(sorted({category for category, _ in parts}))
        self.splits: tuple[Split, ...] = tuple(
            s for s in SPLITS if s in {split for _, split in parts}
        )

    @property
    def form(self) -> FormName:
        """The benchmark whose form the files have; evaluation keeps to its rules."""
        return self._form.name

    def captions_file(self, category: str, split: Split) -> Path:
        """The file of a category's queries of a split."""
        return self._annotations / CAPTIONS / self._file_name("cap", category, split)

    def split_file(self, category: str, split: Split) -> Path:
        """The file of a category's image ids of a split."""
        return self._annotations / IMAGE_SPLITS / self._file_name("split", category, split)

    def queries(self, split: Split) -> list[Query]:
        """Every query of a split, category by category.

        Raises:
            DatasetError: the dataset has no queries of that split, a row is malformed, or one names
                an image that its image split lacks.
        """
        queries = self.annotated_queries(split)
        self._require_within(queries, split)
        return queries

    def require_sound(self) -> None:
        """Reads every annotation, before a stage begins its work.

        Raises:
            DatasetError: a row or an id is malformed, or one names an image that its image split
                lacks.
        """
        for split in self.splits:
            self._require_within(self.queries_or_none(split), split)

    def annotated_queries(self, split: Split) -> list[Query]:
        """As `queries`, though they may name images that their image split lacks.

        Raises:
            DatasetError: the dataset has no queries of that split, or a row is malformed.
        """
        files = {c: self.captions_file(c, split) for c in self.categories}
        present = {c: file for c, file in files.items() if file.exists()}
        if not present:
            raise DatasetError(self._without_queries(split))
        return [q for c, file in present.items() for q in self._read_queries(file, c, split)]

    def queries_or_none(self, split: Split) -> list[Query]:
        """As `annotated_queries`; none where the dataset has no queries of that split."""
        files = (self.captions_file(category, split) for category in self.categories)
        return self.annotated_queries(split) if any(file.exists() for file in files) else []

    def outside_split(self, queries: Iterable[Query], split: Split) -> dict[str, tuple[str, ...]]:
        """By captions file, the ids that its queries name and its image split lacks, sorted."""
        named: dict[str, set[str]] = defaultdict(set)
        for query in queries:
            named[query.category] |= {query.reference_id, *query.known_ids, *query.subset_ids}
        outside = {}
        for category, ids in sorted(named.items()):
            known = (
                self.gallery(split, category) if self.split_file(category, split).exists() else ()
            )
            if lacking := ids.difference(known):
                outside[str(self.captions_file(category, split))] = tuple(sorted(lacking))
        return outside

    def gallery(self, split: Split, category: str) -> list[str]:
        """The image ids of one category's split, in the file's order, each once."""
        file = self.split_file(category, split)
        ids = self._form.image_ids(read_json(file, DatasetError), file)
        for fault in filter(None, map(id_fault, ids)):
            raise DatasetError(f"{file}: {fault}")
        return ids

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
                f"no image file for {image_id}: expected {self.expected_file(image_id)}; "
                f"{self.why_missing(image_id)}"
            ) from None

    def find_image(self, image_id: str) -> Path | None:
        """The file of an image, or None where it has none.

        The folders are listed only for a file that does not lie in the first of them under its id,
        so that a few files of many are found at once.
        """
        if id_fault(image_id) is None:
            folder = self.image_folders[0]
            for suffix in IMAGE_SUFFIXES:
                file = folder / f"{image_id}{suffix}"
                if _is_file(file):
                    return file
        return self.image_files.get(image_id)

    @property
    def image_folders(self) -> list[Path]:
        """The form's folders of images that exist, or the one that should."""
        folders = [self.root / name for name in self._form.image_folders]
        return [folder for folder in folders if folder.is_dir()] or folders[:1]

    def expected_file(self, image_id: str) -> Path:
        """Where an image that has no file might be put."""
        return self.image_folders[0] / f"{image_id}{IMAGE_SUFFIXES[0]}"

    @cached_property
    def image_listing(self) -> Listing:
        """Every image file of the folders, and the folders that cannot be looked into."""
        return list_images(self.image_folders)

    @cached_property
    def image_files(self) -> PathsById:
        """Image id to file, for every image file of the folder.

        Raises:
            DatasetError: an id of a split has several files that differ.
        """
        ids = self.image_ids()
        paths_of = by_id(self.image_listing.paths, ids)
        require_one_each(paths_of, ids)
        return PathsById({image_id: paths[0] for image_id, paths in paths_of.items()})

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Ids of the image files that no image split names, sorted, as text of any encoding."""
        unlisted = sorted(self.image_files.keys() - set(self.image_ids()))
        return tuple(map(printable, unlisted))

    def why_missing(self, image_id: str) -> str:
        """Why an image has no file, looking at what is there."""
        folder = self.expected_file(image_id).parent
        return why_missing(image_id, folder, self.image_listing)

    def _without_queries(self, split: Split) -> str:
        file = self._file_name("cap", "*", split)
        if not self._annotated(CAPTIONS, "cap"):
            return (
                f"{self.root} has no queries of split {split!r}, and no captions/{file} at all: it "
                f"is a gallery to search in"
            )
        return (
            f"{self.root} has no split {split!r}: no captions/{file}; its splits are "
            f"{', '.join(self.splits)}"
        )

    def _file_name(self, prefix: str, category: str, split: Split) -> str:
        if split not in SPLITS:
            raise DatasetError(f"`split` is {split!r}; expected one of {', '.join(SPLITS)}")
        return f"{prefix}.{category}.{self._form.split_names[split]}.json"

    def _annotated(self, folder: str, prefix: str) -> set[tuple[str, Split]]:
        """(category, split) of every annotation file in a folder."""
        split_of = {name: split for split, name in self._form.split_names.items()}
        pattern = re.compile(rf"{prefix}\.(.+)\.({'|'.join(split_of)})\.json")
        files = (self._annotations / folder).glob("*.json")
        names = [pattern.fullmatch(file.name) for file in files]
        return {(match[1], split_of[match[2]]) for match in names if match}

    def _read_queries(self, file: Path, category: str, split: Split) -> list[Query]:
        rows = read_json(file, DatasetError)
        if not isinstance(rows, list):
            raise DatasetError(f"{file}: expected a list of queries, found {type(rows).__name__}")
        located = [RowLocation(file, category, split, number) for number in range(len(rows))]
        queries = list(map(self._form.query, rows, located))
        self._require_sound(queries, located)
        if len({query.id for query in queries}) < len(queries):
            raise DatasetError(f"{file}: several rows have one pairid; expected each once")
        return queries

    def _require_within(self, queries: Sequence[Query], split: Split) -> None:
        for file, ids in self.outside_split(queries, split).items():
            raise DatasetError(outside_split(file, ids))

    def _require_sound(self, queries: Sequence[Query], located: Sequence[RowLocation]) -> None:
        faults = [
            f"{where}: {fault}"
            for query, where in zip(queries, located, strict=True)
            for fault in query_faults(query)
        ]
        if faults:
            more = f" (and {len(faults) - 1:,} more such faults)" if len(faults) > 1 else ""
            raise DatasetError(faults[0] + more)

    def _galleries_or_none(self, split: Split) -> Iterable[list[str]]:
        files = [self.split_file(c, split) for c in self.categories]
        return self.galleries(split).values() if any(f.exists() for f in files) else ()


def _is_file(path: Path) -> bool:
    """Whether a file is there; a name that the system refuses, as one too long, is none's."""
    try:
        return path.is_file()
    except OSError:
        return False
