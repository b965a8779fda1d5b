"""Vectors by name, and the one normalisation of this package."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from cir.artefacts.rows import KeyedRows, Rows, blocks_of, require_texts
from cir.errors import StoreError, VectorError, quoted
from cir.machine.workers import pick_threads
from cir.types import NO_ROW

EMBED_AGAIN: Final = "embed again"
"""What to do about vectors without a direction, where a store holds them."""
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
        with np.errstate(all="ignore"):
            lengths[part] = np.linalg.norm(block, axis=1)
            unit[part] = block / lengths[part, None]
            unusual = _unusual(lengths[part])
            scaled, lengths[part][unusual] = _scaled(block[unusual])
            unit[part][unusual] = scaled / lengths[part][unusual, None]

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
    with np.errstate(all="ignore"):
        lengths = [_checked_lengths(block) for block in blocks_of(vectors)]
    if lengths:
        _require_finite(np.concatenate(lengths), what)


def _checked_lengths(block: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
    """The length of each row, of an unusual one that of `_scaled`."""
    lengths: Float[np.ndarray, " rows"] = np.linalg.norm(block, axis=1)
    unusual = _unusual(lengths)
    lengths[unusual] = _scaled(block[unusual])[1]
    return lengths


def _unusual(lengths: Float[np.ndarray, " rows"]) -> Int[np.ndarray, " unusual"]:
    """The rows whose squares may have left the range, or the precision, of their number format."""
    limits = np.finfo(lengths.dtype)
    return np.flatnonzero(~(np.isfinite(lengths) & (lengths > np.sqrt(limits.tiny / limits.eps))))


def _scaled(
    rows: Float[np.ndarray, "rows dim"],
) -> tuple[Float64[np.ndarray, "rows dim"], Float64[np.ndarray, " rows"]]:
    """Rows divided by their largest component, and their lengths then.

    Those are 0 of a row that is all zero, and NaN of one that is not finite.
    """
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1, initial=0)
    wide /= np.where(largest > 0, largest, 1)[:, None]
    return wide, np.linalg.norm(wide, axis=1)


def _require_finite(norms: Float[np.ndarray, " rows"], what: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        fault = "all zero" if norms[wrong[0]] == 0 else "not finite"
        raise VectorError(
            f"{wrong.size} of {len(norms)} vectors of {what} have no direction: row {wrong[0]} "
            f"is {fault}; {EMBED_AGAIN}, in fp32 if it was a lower precision"
        )
