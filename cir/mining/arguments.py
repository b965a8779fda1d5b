"""Checks of what callers of the library pass: one line says what came and what was expected.

Arrays may be anything that holds numbers in rows: NumPy arrays, tensors, lists, and the columns of
data frames and Arrow tables. Nothing is guessed: whatever may be read in two ways is refused.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from cir.errors import UsageError
from cir.runtime import pick_device

Vectors = npt.ArrayLike
"""A table of numbers, a vector a row: array, tensor, list of lists, data frame, Arrow column."""

Rows = npt.ArrayLike | Sequence[Set[int]]
"""For each query a row, or several: array, tensor, list (of lists), data frame, Arrow column."""

Items = Any
"""Something for each row: a list, an array, or one column of a data frame or Arrow table."""

_CPU: Final = torch.device("cpu")


def require(name: str, value: object, expected: str, *, holds: bool) -> None:
    """Raises UsageError, which names the argument, its value and what was expected of it."""
    if not holds:
        raise UsageError(f"`{name}` is {_shown(value)}; expected {expected}")


def choice(name: str, value: object, allowed: Iterable[str | None]) -> None:
    """Requires one of some words."""
    words = tuple(allowed)
    listed = ", ".join(str(word) for word in words)
    holds = (value is None or isinstance(value, str)) and value in words
    require(name, value, f"one of {listed}", holds=holds)


def instance(name: str, value: object, kind: type) -> None:
    """Requires an object of a class."""
    require(name, value, f"a {kind.__name__}", holds=isinstance(value, kind))


def array(name: str, value: object, dtype: type[np.generic], ndim: int) -> None:
    """Requires a NumPy array of exactly this type and number of axes."""
    holds = isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == ndim
    require(name, value, f"a {ndim}-d array of {dtype.__name__}", holds=holds)


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Requires a whole number within limits; a Boolean is none, nor is 5.0 or "5"."""
    expected = f"a whole number, at least {low}" if high is None else f"{low} to {high}"
    number = _index(value)
    holds = number is not None and low <= number and (high is None or number <= high)
    require(name, value, expected, holds=holds)
    return int(value)


def real(name: str, value: Any, low: float, high: float) -> float:
    """Requires a number within limits; NaN is outside of any."""
    number = _number(value)
    require(name, value, f"{low:g} to {high:g}", holds=number is not None and low <= number <= high)
    return float(value)


def positive(name: str, value: Any) -> float:
    """Requires a finite number above 0."""
    number = _number(value)
    require(name, value, "more than 0", holds=number is not None and 0 < number < math.inf)
    return float(value)


def mining_device(device: torch.device | str) -> torch.device:
    """The device that mining runs on: CUDA where that is meant, and the CPU otherwise.

    Args:
        device: A device or its name; `auto` is CUDA where there is one. Apple's MPS becomes the
            CPU: it has no float64, which the bounds of a scan are computed in.

    Raises:
        UsageError: the device is unknown, or not on this machine.
    """
    try:
        chosen = pick_device(device) if isinstance(device, str) else torch.device(device)
    except (RuntimeError, TypeError):
        raise UsageError(f"`device` is {_shown(device)}; expected auto, cpu or cuda") from None
    if chosen.type != "cuda":
        return _CPU
    if (chosen.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"`device` is {device!s}; this machine has no such GPU: pass 'cpu'")
    return chosen


def table(name: str, vectors: Vectors) -> Float[np.ndarray, "rows dim"]:
    """Vectors as an array of floats, of 32 bits at least; not copied where they are one.

    Raises:
        UsageError: they are no table of numbers.
    """
    try:
        array = _array(vectors)
    except (TypeError, ValueError):
        array = np.empty(0, dtype=np.object_)
    expected = "a table of numbers, a vector a row"
    require(name, vectors, expected, holds=array.ndim == 2 and array.dtype.kind in "fiu")
    floats: Float[np.ndarray, "rows dim"] = array.astype(
        np.promote_types(array.dtype, np.float32), copy=False
    )
    return floats


def row_lists(
    name: str, rows: Rows, queries: int | None = None, gallery: int | None = None
) -> list[list[int]]:
    """For each query its rows of the gallery, as lists.

    Args:
        name: What the argument is called.
        rows: For each query one row, or several.
        queries: How many there are, where it is known.
        gallery: How many rows it has, where it is known.

    Raises:
        UsageError: they are no rows, not as many as queries, or outside the gallery.
    """
    by_query = _listed(rows)
    if by_query is None:
        raise UsageError(f"`{name}` is {_shown(rows)}; expected a list of rows, by query")
    lists = [_rows_of(name, query, row) for query, row in enumerate(by_query)]
    if queries is not None and len(lists) != queries:
        raise UsageError(f"`{name}` is of {len(lists)} queries; expected {queries}, one a query")
    last = math.inf if gallery is None else gallery
    wrong = next((row for own in lists for row in own if not 0 <= row < last), None)
    if wrong is not None:
        of = "" if gallery is None else f" of {gallery}"
        raise UsageError(f"`{name}` names row {wrong}{of}; expected rows counted from 0")
    return lists


def items(name: str, values: Items) -> Sequence[Any]:
    """Something for each row, in order: a list, an array, or a column of a data frame.

    Raises:
        UsageError: it cannot be counted by rows.
    """
    if hasattr(values, "to_pylist"):  # Arrow
        values = values.to_pylist()
    elif hasattr(values, "iloc") and values.ndim == 1:  # pandas, whose [row] is by label
        values = values.tolist()
    ordered = hasattr(values, "__getitem__") and hasattr(values, "__len__")
    other = isinstance(values, str | bytes | Mapping) or hasattr(values, "iloc")
    require(name, values, "a list, or one column", holds=ordered and not other)
    checked: Sequence[Any] = values
    return checked


def _rows_of(name: str, query: int, rows: Any) -> list[int]:
    """The rows of one query, which may be a single one."""
    listed = _listed(rows)
    numbers = [_index(row) for row in ([rows] if listed is None else listed)]
    whole = [number for number in numbers if number is not None]
    if len(whole) < len(numbers):
        raise UsageError(
            f"`{name}` is {_shown(rows)} for query {query}; expected rows, which are whole numbers"
        )
    return whole


def _listed(values: Any) -> list[Any] | None:
    """The items of anything like a list; None of anything else, a text and a dict among it."""
    if hasattr(values, "to_pylist"):  # Arrow
        values = values.to_pylist()
    elif hasattr(values, "to_numpy"):  # data frames and their columns
        values = values.to_numpy()
    if hasattr(values, "tolist"):  # NumPy, torch
        values = values.tolist()
    if isinstance(values, Set):
        return sorted(values)
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return list(values)
    return None


def _array(vectors: Any) -> npt.NDArray[Any]:
    """Anything that holds numbers as an array; lists in a column become rows."""
    if isinstance(vectors, torch.Tensor):
        vectors = vectors.detach().cpu()
        vectors = vectors.float() if vectors.dtype == torch.bfloat16 else vectors
    array = np.asarray(vectors)
    if array.dtype == np.object_ and array.ndim == 1:
        return np.stack([np.asarray(row) for row in array]) if len(array) else array
    return array


def _index(value: Any) -> int | None:
    """A whole number; None of anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _number(value: Any) -> float | None:
    """A number; None of a text, a Boolean or anything else."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    return None


def _shown(value: object) -> str:
    """A value in a few words."""
    if value is None or isinstance(value, bool | int | float | str | np.generic | torch.device):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    shape = getattr(value, "shape", None)
    if shape is not None:
        kind = f"{getattr(value, 'dtype', '')} {type(value).__name__}".strip()
        return f"a {kind} of shape {tuple(shape)}"
    return f"a {type(value).__name__}"
