"""Vectors that stay in a file."""

import os
import weakref
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int

from cir.errors import StoreError


class FileRows:
    """Rows of float32 that stand in a file one behind the other, read where they are asked for.

    They come by plain reads: the pages of a mapped file count as memory of whoever reads them.
    """

    def __init__(self, descriptor: int, start: int, shape: tuple[int, int]) -> None:
        """Takes a place in an open file, which may be closed afterwards.

        Args:
            descriptor: Of the file.
            start: The byte at which the first row begins.
            shape: How many rows there are, and components of each.
        """
        self.shape = shape
        self._start, self._descriptor = start, os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "_ dim"]:
        """Some rows.

        Raises:
            StoreError: the file was cut off meanwhile.
        """
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        found = np.empty((len(wanted), self.shape[1]), "<f4")
        for first, last in _runs(wanted):
            self._read(found[first:last], int(wanted[first]))
        return found

    def _read(self, into: Float32[np.ndarray, "_ dim"], row: int) -> None:
        """Fills an array with the rows from `row` on."""
        left, place = into.reshape(-1).view(np.uint8).data, self._start + row * into[0].nbytes
        while left and (count := os.preadv(self._descriptor, [left], place)):
            left, place = left[count:], place + count
        if left:
            raise StoreError("a file of vectors was cut off while it was read: run it again")


def _runs(rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[int, int]]:
    """Where among `rows` those stand that follow each other: from a place, up to another."""
    ends = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return pairwise(ends) if len(rows) else iter(())
