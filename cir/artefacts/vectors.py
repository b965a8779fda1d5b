"""Vectors by name, and the one normalisation of this package."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int

from cir.artefacts.rows import KeyedRows, Rows, blocks_of, require_texts
from cir.errors import StoreError, VectorError, quoted
from cir.machine.workers import pick_threads
from cir.types import NO_ROW

_BLOCK: Final = 1024
"""Rows that a thread normalises at once."""


@dataclass(frozen=True)
class VectorTable(KeyedRows):
    """Vectors by key, in memory or mapped into it."""

    vectors: Float[np.ndarray, "rows dim"]

    def rows(self, keys: Sequence[str]) -> Int[np.ndarray, " keys"]:
        """The row of each key.

        Raises:
            StoreError: a key has no row; the message counts them and names the first.
            VectorError: the keys are one text.
        """
        require_texts(keys, "keys")
        row_or_none = map(self.row_of.get, keys, repeat(NO_ROW))
        rows = np.fromiter(row_or_none, dtype=np.int64, count=len(keys))
        missing = np.flatnonzero(rows == NO_ROW)
        if missing.size:
            raise StoreError(
                f"the embedding store lacks {missing.size} of {len(keys)} wanted rows, the first "
                f"{quoted(keys[missing[0]])}: it was made from another dataset; run cir embed again"
            )
        return rows

    def take(self, keys: Sequence[str]) -> Float[np.ndarray, "keys dim"]:
        """The vectors of `keys`, in their order."""
        taken: Float[np.ndarray, "keys dim"] = self.vectors[self.rows(keys)]
        return taken

    def unit(self, keys: Sequence[str], what: str) -> Float32[np.ndarray, "keys dim"]:
        """The vectors of `keys` in their order, each of length 1; `what` names them in errors."""
        return normalised(self.vectors, what, self.rows(keys))


def normalised(
    vectors: Float[np.ndarray, "rows dim"],
    what: str,
    rows: Int[np.ndarray, " chosen"] | None = None,
) -> Float32[np.ndarray, "chosen dim"]:
    """Each row, or each of `rows` in their order, divided by its Euclidean norm, as float32.

    Threads take a block of rows at a time, so that next to no memory but the result's is needed.

    Args:
        vectors: The vectors, of any floating-point dtype.
        what: Names the vectors in an error.
        rows: Which of them; all where it is None.

    Raises:
        VectorError: a row has no direction (NaN, infinite or all zero).
    """
    count = len(vectors) if rows is None else len(rows)
    unit = np.empty((count, vectors.shape[1]), dtype=np.float32)
    lengths = np.empty(count, dtype=vectors.dtype)

    def normalise(start: int) -> None:
        part = slice(start, start + _BLOCK)
        block = vectors[part] if rows is None else vectors[rows[part]]
        lengths[part] = np.linalg.norm(block, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit[part] = block / lengths[part, None]

    starts = range(0, count, _BLOCK)
    if len(starts) <= 1:  # to start a thread takes longer
        for start in starts:
            normalise(start)
    else:
        with ThreadPoolExecutor(min(pick_threads(None), len(starts))) as pool:
            for _ in pool.map(normalise, starts):
                pass
    _require_finite(lengths, what)
    return unit


def require_directions(vectors: Rows, what: str) -> None:
    """Raises VectorError where a row is NaN, infinite or all zero; `what` names the vectors."""
    lengths = [np.linalg.norm(block, axis=1) for block in blocks_of(vectors)]
    if lengths:
        _require_finite(np.concatenate(lengths), what)


def _require_finite(norms: Float[np.ndarray, " rows"], what: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        fault = "all zero" if norms[wrong[0]] == 0 else "not finite"
        raise VectorError(
            f"{wrong.size} of {len(norms)} vectors of {what} have no direction: row {wrong[0]} "
            f"is {fault}; embed again, in fp32 if it was a lower precision"
        )
