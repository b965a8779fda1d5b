"""Vectors by name, and the one normalisation of this package."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int

from cir.errors import StoreError, VectorError
from cir.workers import pick_workers

_MISSING: Final = -1
"""The row of a key that a table does not hold."""

_AT_ONCE: Final = 1024
"""Rows that a thread normalises at once."""


@dataclass(frozen=True)
class VectorTable:
    """Vectors of which each row has a name: an image id, or a caption's text."""

    keys: tuple[str, ...]
    vectors: Float[np.ndarray, "rows dim"]

    def rows(self, keys: Sequence[str]) -> Int[np.ndarray, " keys"]:
        """The row of each key.

        Raises:
            StoreError: a key has no row; the message counts them and names the first.
        """
        found = map(self.row_of.get, keys, repeat(_MISSING))
        rows = np.fromiter(found, dtype=np.int64, count=len(keys))
        missing = np.flatnonzero(rows == _MISSING)
        if missing.size:
            raise StoreError(
                f"the embedding store lacks {missing.size} of {len(keys)} wanted rows, the first "
                f"{keys[missing[0]]!r}: it was made from another dataset; run cir embed again"
            )
        return rows

    def take(self, keys: Sequence[str]) -> Float[np.ndarray, "keys dim"]:
        """The vectors of `keys`, in their order."""
        taken: Float[np.ndarray, "keys dim"] = self.vectors[self.rows(keys)]
        return taken

    def unit(self, keys: Sequence[str], what: str) -> Float32[np.ndarray, "keys dim"]:
        """The vectors of `keys` in their order, `normalised`."""
        return normalised(self.vectors, what, self.rows(keys))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key to row."""
        return {key: row for row, key in enumerate(self.keys)}


def normalised(
    vectors: Float[np.ndarray, "rows dim"],
    what: str,
    rows: Int[np.ndarray, " chosen"] | None = None,
) -> Float32[np.ndarray, "chosen dim"]:
    """Each row, or each of `rows` in their order, divided by its Euclidean norm, as float32.

    A few rows at a time, beside one another: this takes next to no memory but the result's.

    Raises:
        VectorError: a row has no direction (NaN, infinite or all zero); `what` names the table.
    """
    count = len(vectors) if rows is None else len(rows)
    unit = np.empty((count, vectors.shape[1]), dtype=np.float32)
    lengths = np.empty(count, dtype=vectors.dtype)

    def normalise(start: int) -> None:
        part = slice(start, start + _AT_ONCE)
        block = vectors[part] if rows is None else vectors[rows[part]]
        lengths[part] = np.linalg.norm(block, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit[part] = block / lengths[part, None]

    starts = range(0, count, _AT_ONCE)
    with ThreadPoolExecutor(min(pick_workers(None), max(1, len(starts)))) as pool:
        for _ in pool.map(normalise, starts):
            pass
    _require_finite(lengths, what)
    return unit


def require_directions(
    vectors: Float[np.ndarray, "rows dim"], what: str
) -> Float[np.ndarray, " rows"]:
    """The length of each row; raises VectorError where one is NaN, infinite or all zero."""
    norms: Float[np.ndarray, " rows"] = np.linalg.norm(vectors, axis=1)
    _require_finite(norms, what)
    return norms


def _require_finite(norms: Float[np.ndarray, " rows"], what: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        fault = "all zero" if norms[wrong[0]] == 0 else "not finite"
        raise VectorError(
            f"{wrong.size} of {len(norms)} vectors of {what} have no direction: row {wrong[0]} "
            f"is {fault}; embed again, in fp32 if it was a lower precision"
        )
