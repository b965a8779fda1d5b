"""Rows by owner, as many as each has, and rows by number: the look-ups of this package."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int64, Shaped

from cir.types import NO_ROW


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of numbered owners: those of owner i are rows[starts[i]:starts[i + 1]]."""

    starts: Int64[np.ndarray, " owners_and_end"]
    rows: Int64[np.ndarray, " flat"]

    @classmethod
    def of_lists(cls, lists: Sequence[Iterable[int] | Int[np.ndarray, " _"]]) -> "Ragged":
        """The rows of each owner, in their order."""
        arrays = [np.fromiter(rows, dtype=np.int64) for rows in lists]
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
        return cls(_starts(lengths), np.concatenate([*arrays, np.empty(0, dtype=np.int64)]))

    @classmethod
    def of_pairs(
        cls, owners: Int[np.ndarray, " pairs"], rows: Int[np.ndarray, " pairs"], count: int
    ) -> "Ragged":
        """The rows of `count` owners from (owner, row) pairs; each owner's stay in their order."""
        lengths = np.bincount(owners, minlength=count)
        return cls(
            _starts(lengths), rows[np.argsort(owners, kind="stable")].astype(np.int64, copy=False)
        )

    @classmethod
    def of_lengths(cls, lengths: Int[np.ndarray, " owners"]) -> "Ragged":
        """Owners that have these many rows each: row 0 and up, one owner after the other."""
        starts = _starts(lengths)
        return cls(starts, np.arange(starts[-1]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, " owners"]:
        """How many rows each owner has."""
        return np.diff(self.starts)

    def of(self, owner: int) -> Int64[np.ndarray, " rows"]:
        """The rows of one owner."""
        return self.rows[self.starts[owner] : self.starts[owner + 1]]

    def positions(self, owners: Int[np.ndarray, " chosen"]) -> Int64[np.ndarray, " flat_chosen"]:
        """Where the rows of some owners stand in `rows`, owner after owner."""
        lengths = self.lengths[owners]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        positions: Int64[np.ndarray, " flat_chosen"] = (
            np.repeat(self.starts[owners], lengths) + within
        )
        return positions

    def take(self, owners: Int[np.ndarray, " chosen"]) -> "Ragged":
        """Some of the owners, in the order given; one may be taken several times."""
        return Ragged(_starts(self.lengths[owners]), self.rows[self.positions(owners)])

    def pairs(self) -> tuple[Int64[np.ndarray, " flat"], Int64[np.ndarray, " flat"]]:
        """(owner, row) of every row."""
        return np.repeat(np.arange(len(self)), self.lengths), self.rows

    def where(self, chosen: Bool[np.ndarray, " flat"]) -> "Ragged":
        """The rows for which `chosen` is true, of the same owners."""
        return Ragged(_starts(chosen)[self.starts], self.rows[chosen])


class RowOf:
    """The row at which each of some numbers stands; `NO_ROW` for all others."""

    def __init__(self, numbers: Int64[np.ndarray, " rows"]) -> None:
        """Looks none of them up twice: each stands once."""
        self.rows = np.full(numbers.max(initial=-1) + 2, NO_ROW, dtype=np.int64)
        """By number, and once more for those beyond the last."""
        self.rows[numbers] = np.arange(len(numbers))

    def __call__(self, numbers: Int64[np.ndarray, " asked"]) -> Int64[np.ndarray, " asked"]:
        """The row of each number."""
        rows: Int64[np.ndarray, " asked"] = self.rows[np.minimum(numbers, len(self.rows) - 1)]
        return rows


def _starts(lengths: Shaped[np.ndarray, " owners"]) -> Int64[np.ndarray, " owners_and_end"]:
    """Where each owner's rows begin, and the end of the last."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
