"""Checks of what callers of the library pass: one line says what came and what was expected."""

import math
import operator
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from cir.errors import UsageError

_SHORT = (bool, int, float, str, np.generic)
"""What is shown as it is."""


def require(name: str, value: object, expected: str, *, holds: bool) -> None:
    """Raises UsageError, which names the argument, its value and what was expected of it."""
    if not holds:
        raise UsageError(f"`{name}` is {shown(value)}; expected {expected}")


def choice(name: str, value: object, allowed: Iterable[str | None]) -> None:
    """Requires one of some words."""
    words = tuple(allowed)
    listed = ", ".join(str(word) for word in words)
    holds = (value is None or isinstance(value, str)) and value in words
    require(name, value, f"one of {listed}", holds=holds)


def instance(name: str, value: object, kind: type) -> None:
    """Requires an object of a class."""
    require(name, value, with_article(kind.__name__), holds=isinstance(value, kind))


def array(name: str, value: object, dtype: type[np.generic], ndim: int) -> None:
    """Requires a NumPy array of exactly this type and number of axes."""
    holds = isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == ndim
    require(name, value, f"a {ndim}-d array of {dtype.__name__}", holds=holds)


def table_of_floats(name: str, value: object) -> None:
    """Requires a NumPy array of floats, a vector a row."""
    holds = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2
    require(name, value, "a 2-d array of floats", holds=holds)


def tensor(name: str, value: object, *shape: int | None, flags: bool = False) -> None:
    """Requires a tensor of real numbers, or of Booleans where they are `flags`.

    Args:
        name: What the argument is called.
        value: The argument.
        shape: The length of each axis; None where any will do.
        flags: Whether it holds Booleans.
    """
    axes = ", ".join("any" if length is None else str(length) for length in shape)
    expected = f"a tensor of {'Booleans' if flags else 'real numbers'}, ({axes})"
    holds = _is_torch(value, "Tensor") and _fits(value, shape, flags)
    require(name, value, expected, holds=holds)


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Requires a whole number within limits; a Boolean is none, nor is 5.0 or "5"."""
    expected = f"a whole number, at least {low}" if high is None else f"{low} to {high}"
    # A tensor gives itself as an index, but what is computed with it is none of NumPy's.
    number = None if _is_torch(value, "Tensor") else index(value)
    holds = number is not None and low <= number and (high is None or number <= high)
    require(name, value, expected, holds=holds)
    return int(value)


def real(name: str, value: Any, low: float, high: float) -> float:
    """Requires a number within limits; NaN is outside of any."""
    number = _number(value)
    require(name, value, f"{low:g} to {high:g}", holds=number is not None and low <= number <= high)
    return float(value)


def share(name: str, value: Any) -> float:
    """Requires a number from 0 to below 1."""
    number = _number(value)
    require(name, value, "0 to below 1", holds=number is not None and 0 <= number < 1)
    return float(value)


def positive(name: str, value: Any) -> float:
    """Requires a finite number above 0."""
    number = _number(value)
    require(name, value, "more than 0", holds=number is not None and 0 < number < math.inf)
    return float(value)


def index(value: Any) -> int | None:
    """A whole number; None of anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def shown(value: object) -> str:
    """A value in a few words."""
    if value is None or isinstance(value, _SHORT) or _is_torch(value, "device"):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        kind = f"{getattr(value, 'dtype', '')} {type(value).__name__}".strip()
        return f"{with_article(kind)} of shape {tuple(shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return with_article(type(value).__name__)


def with_article(noun: str) -> str:
    """A noun after a or an, by its first letter."""
    return f"{'an' if noun[:1].lower() in set('aeio') else 'a'} {noun}"


def _fits(value: Any, shape: tuple[int | None, ...], flags: bool) -> bool:
    """Whether a tensor is of a kind and shape."""
    kind = str(value.dtype) == "torch.bool" if flags else value.dtype.is_floating_point
    lengths = zip(value.shape, shape, strict=False)
    return (
        kind
        and value.ndim == len(shape)
        and all(wanted in (None, length) for length, wanted in lengths)
    )


def _number(value: Any) -> float | None:
    """A number; None of a text, a Boolean, a number past any limit, or anything else."""
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _is_torch(value: object, kind: str) -> bool:
    """Whether a value is one of torch's kinds; where torch was never loaded, none is.

    Commands that compute no tensor start without it, which takes it seconds.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, kind))
