"""Vectors by row, in memory or not: whoever goes through them takes a block of rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from cir.errors import VectorError

_AT_ONCE: Final = 2048
"""Rows of a block."""


@runtime_checkable
class Rows(Protocol):
    """Vectors in rows, some of which are read at a time; an array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many rows there are, and components of each."""

    def __len__(self) -> int:
        """How many rows there are."""

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"], /) -> Float[np.ndarray, "_ dim"]:
        """Some rows, as an array."""


@dataclass(frozen=True)
class KeyedRows:
    """Vectors of which each row has a key: an image id, or a caption's text.

    Raises:
        VectorError: the keys are one text, or the vectors are not a row a key.
    """

    keys: tuple[str, ...]
    vectors: Rows

    def __post_init__(self) -> None:
        """Checks that keys and vectors belong together."""
        require_texts(self.keys, "keys")
        shape = tuple(self.vectors.shape)
        if len(shape) != 2 or shape[0] != len(self.keys):
            raise VectorError(
                f"`vectors` have shape {shape}; expected a row for each of {len(self.keys)} keys"
            )

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key to row."""
        return {key: row for row, key in enumerate(self.keys)}


def blocks_of(rows: Rows) -> Iterator[Float[np.ndarray, "block dim"]]:
    """All rows in their order, a block at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


def require_texts(texts: object, name: str) -> None:
    """Raises VectorError where one text stands in the place of several: its letters are no keys."""
    if isinstance(texts, str):
        raise VectorError(f"`{name}` is the text {texts!r}; expected a list of texts")
