"""Vectors put on the disk as they come, which are read again at the end."""

import tempfile
import weakref
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float

from cir.artefacts.file_rows import FileRows
from cir.artefacts.rows import Rows
from cir.disk.files import unwritable
from cir.errors import CirError


class Spool:
    """Vectors in a file without a name, which is gone when the program ends, however it ends."""

    def __init__(self, folder: Path, dim: int) -> None:
        """Names the folder; the first vector makes it, and the file.

        Args:
            folder: Where there is room for the vectors.
            dim: Components of a vector.
        """
        self._folder, self._dim = folder, dim
        self._file: BinaryIO | None = None
        self._count = 0

    def append(self, vectors: Float[np.ndarray, "_ dim"]) -> None:
        """Takes some vectors.

        Raises:
            CirError: they cannot be written.
        """
        if not len(vectors):
            return
        left = np.ascontiguousarray(vectors, "<f4").data.cast("B")
        try:
            file = self._opened()
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise CirError(unwritable(self._folder / "vectors", error)) from error
        self._count += len(vectors)

    def rows(self) -> Rows:
        """The vectors that it has taken, in their order."""
        if self._file is None:
            return np.zeros((0, self._dim), np.float32)
        return FileRows(self._file.fileno(), 0, (self._count, self._dim))

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        return self._file
