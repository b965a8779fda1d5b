"""Vectors by name, and the one normalisation of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from cir.errors import StoreError, VectorError

_MISSING: Final = -1
"""The row of a key that a table does not hold."""


@dataclass(frozen=True)
class Table:
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

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key to row."""
        return {key: row for row, key in enumerate(self.keys)}


def normalised(vectors: Float[np.ndarray, "rows dim"], what: str) -> Float[np.ndarray, "rows dim"]:
    """Each row divided by its Euclidean norm, as float32.

    Raises:
        VectorError: a row has no direction (NaN, infinite or all zero); `what` names the table.
    """
    lengths = require_directions(vectors, what)
    return np.ascontiguousarray(vectors / lengths[:, None], dtype=np.float32)


def require_directions(
    vectors: Float[np.ndarray, "rows dim"], what: str
) -> Float[np.ndarray, " rows"]:
    """The length of each row; raises VectorError where one is NaN, infinite or all zero."""
    norms: Float[np.ndarray, " rows"] = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        fault = "all zero" if norms[wrong[0]] == 0 else "not finite"
        raise VectorError(
            f"{wrong.size} of {len(vectors)} vectors of {what} have no direction: row {wrong[0]} "
            f"is {fault}; embed again, in fp32 if it was a lower precision"
        )
    return norms
