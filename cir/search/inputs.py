"""What a caller hands to a retriever: photos, texts and feature vectors, checked one by one.

Lists, tuples, generators, arrays and data-frame columns are taken alike. A bare string, a table and
a set are refused: a string would be read letter by letter, and the others have no order of their
own.
"""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from cir.data.soundness import text_fault
from cir.errors import ImageError, UsageError, VectorError, one_line

LONGEST_TEXT: Final = 1000
"""Characters of a text that is searched with; encoders read no more than the first few hundred."""
_NUMBERS: Final = "fiu"
"""Kinds of NumPy's dtypes that are real numbers."""


def photo_list(photos: object) -> list[Path | Image.Image]:
    """The files as paths, and the decoded images as they are, in order.

    Args:
        photos: Of files (str or Path) and PIL images; an image that PIL has only opened is decoded
            here, since worker processes cannot share its file.

    Raises:
        UsageError: they are no list, or an element is neither file nor image.
        ImageError: an image cannot be decoded.
    """
    items = _items("photos", photos)
    return [require_photo(f"photos[{row}]", photo) for row, photo in enumerate(items)]


def text_list(texts: object) -> list[str]:
    """The texts as plain strings, in order.

    Raises:
        UsageError: they are no list, or an element is no string or holds what is no character.
    """
    items = _items("texts", texts)
    return [require_text(f"texts[{row}]", text) for row, text in enumerate(items)]


def require_photo(name: str, photo: object) -> Path | Image.Image:
    """One photo, as `photo_list` takes them; `name` is what the caller calls it."""
    if isinstance(photo, str | Path):
        return require_path(name, photo)
    if not isinstance(photo, Image.Image):
        raise UsageError(
            f"`{name}` is {_described(photo)}; expected a file (str or Path) or a PIL image"
        )
    try:
        photo.load()
    except Exception as fault:  # a decoder raises whatever its authors did not think of
        raise ImageError(f"`{name}` is damaged ({one_line(fault)}): fetch it again") from fault
    if not (photo.width and photo.height):
        raise ImageError(f"`{name}` is {photo.width} x {photo.height} pixels; expected a photo")
    return photo


def require_text(name: str, text: object) -> str:
    """One text, as `text_list` takes them; `name` is what the caller calls it."""
    if not isinstance(text, str):
        raise UsageError(f"`{name}` is {_described(text)}; expected a string")
    if fault := text_fault(text):
        raise UsageError(f"`{name}`: {fault}")
    return str(text)


def unless_blank(text: str) -> str:
    """A text of a query; an empty one in place of spaces alone, which say nothing to search by."""
    return text if text.strip() else ""


def require_query_text(name: str, text: object) -> str:
    """A text that is searched with: as `require_text`, and no longer than `LONGEST_TEXT`."""
    checked = require_text(name, text)
    if len(checked) > LONGEST_TEXT:
        raise UsageError(
            f"`{name}` has {len(checked):,} characters; expected at most {LONGEST_TEXT:,}"
        )
    return checked


def feature_rows(name: str, vectors: object, dim: int) -> Float32[np.ndarray, "rows {dim}"]:
    """Vectors as float32 rows.

    Args:
        name: What the caller calls them.
        vectors: An array, a tensor on any device, or a list of either or of lists of numbers.
        dim: Components that each must have.

    Raises:
        VectorError: they are not numbers, not rows of `dim` components, or not finite.
    """
    table = _as_array(name, vectors)
    with np.errstate(over="ignore"):  # found below
        table = np.ascontiguousarray(table, dtype=np.float32)
    if table.ndim != 2 or table.shape[1] != dim:
        raise VectorError(
            f"`{name}` has shape {table.shape}; expected (rows, {dim}), one row per query"
        )
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if wrong.size:
        raise VectorError(f"`{name}[{wrong[0]}]` is not finite; expected numbers")
    return table


def require_count(name: str, value: object, least: int) -> int:
    """A whole number; raises UsageError where `value` is none, or is below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UsageError(f"`{name}` is {value!r}; expected a whole number of at least {least}")
    return int(value)


def require_path(name: str, value: object) -> Path:
    """A path; raises UsageError unless `value` is a str or a Path, and not empty."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        kinds = "" if isinstance(value, str | Path) else ", as str or Path"
        raise UsageError(f"`{name}` is {value!r}; expected a path{kinds}")
    return Path(value)


def _items(name: str, values: object) -> list[object]:
    one = isinstance(values, str | bytes | Path | Image.Image) or getattr(values, "ndim", 1) == 0
    table = hasattr(values, "columns")
    if one or table or isinstance(values, Mapping | Set) or not isinstance(values, Iterable):
        raise UsageError(f"`{name}` is {_described(values)}; expected a list, for one as for many")
    return list(values)


def _as_array(name: str, vectors: object) -> np.ndarray:
    if hasattr(vectors, "tolist") and getattr(vectors, "dtype", None) == np.object_:
        vectors = vectors.tolist()  # a column of rows
    if isinstance(vectors, torch.Tensor):
        vectors = _of_tensor(vectors)
    elif isinstance(vectors, list | tuple):
        vectors = [_of_tensor(v) if isinstance(v, torch.Tensor) else v for v in vectors]
    try:
        table = np.asarray(vectors)
    except ValueError as fault:
        raise VectorError(f"`{name}` has rows of different lengths; expected a table") from fault
    if table.dtype.kind not in _NUMBERS:
        raise VectorError(f"`{name}` holds {_described(vectors)}; expected rows of numbers")
    return table


def _of_tensor(vectors: torch.Tensor) -> np.ndarray:
    if vectors.is_meta:
        raise VectorError("a tensor of the device meta holds no values; expected rows of numbers")
    dense = vectors.detach().cpu().to_dense()
    return (dense.float() if dense.is_floating_point() else dense).numpy()


def _described(value: object) -> str:
    """A value as a message shows it: short ones themselves, others by their type."""
    shown = repr(value)
    return shown if len(shown) <= 40 and "\n" not in shown else f"a {type(value).__name__}"
