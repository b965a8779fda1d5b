"""Checks of what callers of mining pass, beside those of `cir.arguments`.

Arrays may be anything that holds numbers in rows: NumPy arrays, tensors, lists, and the columns of
data frames and Arrow tables. Nothing is guessed: whatever may be read in two ways is refused.
"""

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from cir.arguments import index, require, shown
from cir.errors import UsageError
from cir.machine.runtime import pick_device

Vectors = npt.ArrayLike
"""A table of numbers, a vector a row: array, tensor, list of lists, data frame, Arrow column."""

Rows = npt.ArrayLike | Sequence[Set[int]]
"""For each query a row, or several: array, tensor, list (of lists), data frame, Arrow column."""

Items = Any
"""Something for each row: a list, an array, or one column of a data frame or Arrow table."""

_CPU: Final = torch.device("cpu")


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
        raise UsageError(f"`device` is {shown(device)}; expected auto, cpu or cuda") from None
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
    if isinstance(vectors, torch.Tensor) and vectors.is_meta:
        raise UsageError(f"`{name}` is a tensor of the device meta; expected one that holds values")
    try:
        numbers = _array(vectors)
    except (TypeError, ValueError):
        numbers = np.empty(0, dtype=np.object_)
    expected = "a table of numbers, a vector a row"
    require(name, vectors, expected, holds=numbers.ndim == 2 and numbers.dtype.kind in "fiu")
    floats: Float[np.ndarray, "rows dim"] = numbers.astype(
        np.promote_types(numbers.dtype, np.float32), copy=False
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
    # A set has no order, by which its rows would be those of queries.
    by_query = None if isinstance(rows, Set) else _listed(rows)
    if by_query is None:
        raise UsageError(f"`{name}` is {shown(rows)}; expected a list of rows, by query")
    lists = [_rows_of(name, query, row) for query, row in enumerate(by_query)]
    if queries is not None and len(lists) != queries:
        raise UsageError(f"`{name}` is of {len(lists)} queries; expected {queries}, one a query")
    end = math.inf if gallery is None else gallery
    wrong = next((row for own in lists for row in own if not 0 <= row < end), None)
    if wrong is not None:
        expected = "at least 0" if gallery is None else f"0 to {gallery - 1}"
        raise UsageError(f"`{name}` names row {shown(wrong)}; expected {expected}")
    return lists


def items(name: str, values: Items) -> Sequence[Any]:
    """Something for each row, in order: a list, an array, or a column of a data frame.

    Raises:
        UsageError: it cannot be counted by rows.
    """
    if hasattr(values, "to_pylist") and not hasattr(values, "columns"):  # Arrow
        values = values.to_pylist()
    elif hasattr(values, "iloc") and values.ndim == 1:  # pandas, whose [row] is by label
        values = values.tolist()
    ordered = hasattr(values, "__getitem__") and hasattr(values, "__len__")
    other = isinstance(values, str | bytes | Mapping) or getattr(values, "ndim", 1) == 0
    several = hasattr(values, "iloc") or hasattr(values, "columns")
    require(name, values, "a list, or one column", holds=ordered and not other and not several)
    checked: Sequence[Any] = values
    return checked


def _rows_of(name: str, query: int, rows: Any) -> list[int]:
    """The rows of one query, which may be a single one."""
    listed = _listed(rows)
    numbers = [index(row) for row in ([rows] if listed is None else listed)]
    whole = [number for number in numbers if number is not None]
    if len(whole) < len(numbers):
        wrong = rows if listed is None else listed[numbers.index(None)]
        holds = "is" if listed is None else "holds"
        raise UsageError(
            f"`{name}` {holds} {shown(wrong)} for query {query}; "
            f"expected rows, which are whole numbers"
        )
    return whole


def _listed(values: Any) -> list[Any] | None:
    """The items of anything like a list; None of anything else, a text and a dict among it."""
    if hasattr(values, "to_pylist"):  # Arrow
        values = values.to_pylist()
    elif hasattr(values, "to_numpy"):  # data frames and their columns
        values = values.to_numpy()
    if isinstance(values, torch.Tensor) and values.is_meta:
        return None
    if hasattr(values, "tolist"):  # NumPy, torch
        values = values.tolist()
    if isinstance(values, Set):
        return sorted(values)
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return list(values)
    return None


def _array(vectors: Any) -> npt.NDArray[Any]:
    """Anything that holds numbers as an array; lists in a column become rows."""
    if isinstance(vectors, np.ma.MaskedArray):
        raise TypeError  # what is masked is no number
    if isinstance(vectors, torch.Tensor):
        return _of_tensor(vectors)
    if isinstance(vectors, list | tuple):
        vectors = [_of_tensor(row) if isinstance(row, torch.Tensor) else row for row in vectors]
    array = np.asarray(vectors)
    if array.dtype == np.object_ and array.ndim == 1:
        return np.stack([np.asarray(row) for row in array]) if len(array) else array
    return array


def _of_tensor(vectors: torch.Tensor) -> npt.NDArray[Any]:
    """A tensor on any device as an array; NumPy has no bfloat16."""
    vectors = vectors.detach().cpu()
    table: npt.NDArray[Any]
    table = (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()
    return table
