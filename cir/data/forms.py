"""The forms that annotations are written in, read into the same queries and image ids.

Both forms name files alike, `captions/cap.<category>.<split>.json` and
`image_splits/split.<category>.<split>.json`; what the files hold differs.

* FashionIQ (Wu et al., CVPR 2021): rows `{candidate, target | targets, captions}` and lists of ids.
* CIRR (Liu et al., ICCV 2021): rows `{pairid, reference, target_hard, target_soft, caption,
  img_set}` and objects from id to path. The version, rc2, stands for the category, and the test
  split is called test1.

CIRR's `target_hard` is the only hit, as in CIRR's evaluation. `target_soft` grades images that
annotators compared with it: an image of grade 1.0 fits as well as the target and is no negative.
Some of these grades are the reference's, which the caption asks to change, and are left out.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from cir.data.queries import Query
from cir.disk.reading import opened
from cir.errors import DatasetError
from cir.names import CAPTIONS, IMAGE_SPLITS
from cir.types import Split

FormName = Literal["FashionIQ", "CIRR"]

_FITS_AS_WELL: Final = 1.0
"""The grade in `target_soft` of an image that is as good as the target."""
_PEEK: Final = 4096
"""Bytes at the start of a file that are enough to recognise its form."""


@dataclass(frozen=True)
class RowLocation:
    """Which row of which captions file; an error names it."""

    file: Path
    category: str
    split: Split
    row: int

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}"

    def query_id(self, number: int) -> str:
        """The id of the query with this number."""
        return f"{self.category}-{self.split}-{number:05d}"


@dataclass(frozen=True)
class Form:
    """How the files of one form are named and read."""

    name: FormName
    split_names: Mapping[Split, str]
    """The name of each split in the names of files."""
    image_folders: tuple[str, ...]
    """Folders of the dataset that hold images, in themselves or in folders of theirs."""
    query: Callable[[Any, RowLocation], Query]
    """Reads a row of a captions file; raises DatasetError."""
    image_ids: Callable[[Any, Path], list[str]]
    """Reads an image split, from its file; raises DatasetError."""
    row_within: Callable[[dict[str, Any], Container[str]], dict[str, Any]]
    """A row of a captions file that names only some images: its reference and at least one target
    are among them."""


def recognise_form(annotations: Path) -> Form:
    """Recognises the form of a folder that holds captions/ and image_splits/ by their content."""
    split = next(iter(sorted((annotations / IMAGE_SPLITS).glob("split.*.json"))), None)
    captions = next(iter(sorted((annotations / CAPTIONS).glob("cap.*.json"))), None)
    is_cirr = _start(split).startswith("{") or '"pairid"' in _start(captions)
    return CIRR if is_cirr else FASHIONIQ


def _start(file: Path | None) -> str:
    """How a file begins; an empty text where it is missing or cannot be read."""
    if file is None:
        return ""
    try:
        with opened(file) as content:
            return content.read(_PEEK).decode("utf-8", "replace").lstrip()
    except OSError:
        return ""


# -------------------------------------------------------------------------------- FashionIQ


def _fashioniq_query(row: Any, location: RowLocation) -> Query:
    """Reads a row; a query with several targets names them in `targets`, `target` the first."""
    if not isinstance(row, dict) or not isinstance(row.get("candidate"), str):
        raise DatasetError(f"{location}: expected an object with a candidate id")
    captions, targets = row.get("captions"), row.get("targets", [])
    if not _are_texts(captions) or not captions:
        raise DatasetError(f"{location}: expected captions as a list of texts, one at least")
    if not _are_texts(targets):
        raise DatasetError(
            f"{location}: `targets` is {_shown(targets)}; expected a list of target ids as texts"
        )
    target_ids = [row["target"], *targets] if "target" in row else targets
    if not _are_texts(target_ids):
        raise DatasetError(f"{location}: expected target ids as texts")
    return Query(
        id=location.query_id(location.row),
        category=location.category,
        reference_id=row["candidate"],
        captions=tuple(captions),
        target_ids=tuple(dict.fromkeys(target_ids)),
    )


def _fashioniq_row_within(row: dict[str, Any], kept: Container[str]) -> dict[str, Any]:
    targets = [i for i in row.get("targets", ()) if i in kept]
    changed: dict[str, Any] = {"targets": targets} if "targets" in row else {}
    if "target" in row and row["target"] not in kept:
        changed["target"] = targets[0]
    return row | changed


def _listed_ids(content: Any, file: Path) -> list[str]:
    if not _are_texts(content):
        raise DatasetError(f"{file}: expected a list of image ids")
    return list(dict.fromkeys(content))


FASHIONIQ: Final = Form(
    name="FashionIQ",
    split_names={"train": "train", "val": "val", "test": "test"},
    image_folders=("images",),
    query=_fashioniq_query,
    image_ids=_listed_ids,
    row_within=_fashioniq_row_within,
)

# ------------------------------------------------------------------------------------- CIRR


def _cirr_query(row: Any, location: RowLocation) -> Query:
    """Reads a pair; those of a test split have no target."""
    if not isinstance(row, dict) or not isinstance(row.get("pairid"), int):
        raise DatasetError(f"{location}: expected an object with a pairid")
    reference, caption = row.get("reference"), row.get("caption")
    if not isinstance(reference, str) or not isinstance(caption, str):
        raise DatasetError(f"{location}: expected reference and caption as texts")
    targets = [row["target_hard"]] if "target_hard" in row else []
    if not _are_texts(targets):
        raise DatasetError(f"{location}: expected target_hard as an image id")
    pair_ids = {reference, *targets}
    return Query(
        id=location.query_id(row["pairid"]),
        category=location.category,
        reference_id=reference,
        captions=(caption,),
        target_ids=tuple(targets),
        alike_ids=tuple(i for i in _equally_good(row, location) if i not in pair_ids),
        subset_ids=tuple(i for i in _members(row, location) if i != reference),
    )


def _equally_good(row: dict[str, Any], location: RowLocation) -> list[str]:
    """The images graded as good as the target."""
    grades = row.get("target_soft", {})
    if not isinstance(grades, dict):
        raise DatasetError(f"{location}: expected target_soft as an object from image id to grade")
    return [image_id for image_id, grade in grades.items() if grade == _FITS_AS_WELL]


def _members(row: dict[str, Any], location: RowLocation) -> list[str]:
    """The images of the subset that the pair was drawn from, each once."""
    subset = row.get("img_set")
    members = subset.get("members") if isinstance(subset, dict) else None
    if not _are_texts(members):
        raise DatasetError(f"{location}: expected img_set with members, a list of image ids")
    return list(dict.fromkeys(members))


def _cirr_row_within(row: dict[str, Any], kept: Container[str]) -> dict[str, Any]:
    subset = row["img_set"] | {"members": [i for i in row["img_set"]["members"] if i in kept]}
    grades = {i: grade for i, grade in row.get("target_soft", {}).items() if i in kept}
    return row | {"img_set": subset} | ({"target_soft": grades} if "target_soft" in row else {})


def _keyed_ids(content: Any, file: Path) -> list[str]:
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: expected an object from image id to path")
    return list(content)


def _shown(value: Any) -> str:
    """A value as a message shows it."""
    return "null" if value is None else repr(value)[:60]


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


CIRR: Final = Form(
    name="CIRR",
    split_names={"train": "train", "val": "val", "test": "test1"},
    image_folders=("img_raw", "images", "train", "dev", "test1"),
    query=_cirr_query,
    image_ids=_keyed_ids,
    row_within=_cirr_row_within,
)

FORMS: Final[Mapping[FormName, Form]] = {form.name: form for form in (FASHIONIQ, CIRR)}
