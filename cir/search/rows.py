"""The vectors of a gallery, a row a photo: held in memory, or left in the store's file.

Both grow: what is added is held in a buffer with room for more.
"""

from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64

from cir.artefacts.vectors import normalised

_ROOM: Final = 1024
"""Rows that are made room for at once, at least."""


@runtime_checkable
class UnitRows(Protocol):
    """Unit vectors by row."""

    @property
    def dim(self) -> int:
        """Components of a vector."""

    def __len__(self) -> int: ...

    def every(self) -> Float32[np.ndarray, "rows dim"]:
        """All of them, in memory."""

    def take(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        """Some of them, in the order asked for."""

    def append(self, vector: Float32[np.ndarray, " dim"]) -> None:
        """Adds one behind the others."""


class HeldRows:
    """All of them in memory."""

    def __init__(self, vectors: Float32[np.ndarray, "rows dim"]) -> None:
        """Takes unit vectors as they are."""
        self._buffer, self._count = vectors, len(vectors)

    @property
    def dim(self) -> int:
        return int(self._buffer.shape[1])

    def __len__(self) -> int:
        return self._count

    def every(self) -> Float32[np.ndarray, "rows dim"]:
        return self._buffer[: self._count]

    def take(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        taken: Float32[np.ndarray, "some dim"] = self._buffer.take(rows, axis=0)
        return taken

    def append(self, vector: Float32[np.ndarray, " dim"]) -> None:
        if self._count == len(self._buffer):
            # A buffer of its own from then on: what was passed is never written to.
            room = self._count + max(_ROOM, self._count // 4)
            buffer = np.empty((room, self.dim), dtype=np.float32)
            buffer[: self._count] = self._buffer
            self._buffer = buffer
        self._buffer[self._count] = vector
        self._count += 1


class MappedRows:
    """Those of a store left in its file, normalised when they are read; added ones in memory."""

    def __init__(self, stored: Float[np.ndarray, "stored dim"], what: str) -> None:
        """Reads nothing yet.

        Args:
            stored: The vectors as the encoder gave them, mapped into memory.
            what: Names them in errors.
        """
        self._stored, self._what = stored, what
        self._added = HeldRows(np.zeros((0, stored.shape[1]), dtype=np.float32))

    @property
    def dim(self) -> int:
        return self._added.dim

    def __len__(self) -> int:
        return len(self._stored) + len(self._added)

    def every(self) -> Float32[np.ndarray, "rows dim"]:
        return self.take(np.arange(len(self)))

    def take(self, rows: Int64[np.ndarray, " some"]) -> Float32[np.ndarray, "some dim"]:
        taken = np.empty((len(rows), self.dim), dtype=np.float32)
        there = rows < len(self._stored)
        taken[there] = normalised(self._stored, self._what, rows[there])
        taken[~there] = self._added.take(rows[~there] - len(self._stored))
        return taken

    def append(self, vector: Float32[np.ndarray, " dim"]) -> None:
        self._added.append(vector)
