"""The gallery rows that are no negatives of each query, and the rule that excludes each of them."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Int, Int8, Int64

from cir.mining.arguments import Rows, row_lists
from cir.ragged import Ragged
from cir.types import NO_ROW

Reason = Literal["named", "same-bytes", "near-copy", "sibling", "similar"]
"""The rule that excludes a candidate; of several that apply, the first counts.

named: the reference, or a known target of the same (reference, captions); same-bytes: a
byte-identical copy of the target; near-copy: a near-duplicate of the target; sibling: a target of
the same reference under other captions; similar: an image too similar to the target.
"""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Reasons by code: arrays hold the position in this tuple as int8."""


@dataclass(frozen=True)
class ExclusionCounts:
    """Excluded candidates over all queries, each under the first reason that applies.

    Those excluded as `named` are not counted.
    """

    duplicate_bytes: int = 0
    """Byte-identical copies of the target."""
    duplicate_vectors: int = 0
    """Near-copies of the target."""
    siblings: int = 0
    """Targets of the same reference under other captions."""
    target_similarity: int = 0
    """Candidates too similar to the target."""

    @property
    def duplicates(self) -> int:
        """Copies of the target, by bytes or by vector."""
        return self.duplicate_bytes + self.duplicate_vectors


@dataclass(frozen=True, eq=False)
class Exclusions(Ragged):
    """The excluded gallery rows of each query, ascending, with the reason for each."""

    reasons: Int8[np.ndarray, " flat"]
    """Positions in `REASONS`."""

    @property
    def counts(self) -> ExclusionCounts:
        """How many candidates each rule excludes."""
        _, *counted = np.bincount(self.reasons, minlength=len(REASONS)).tolist()
        return ExclusionCounts(*counted)

    def take(self, owners: Int[np.ndarray, " chosen"]) -> "Exclusions":
        """The exclusions of some of the queries, in the order given."""
        taken = super().take(owners)
        return Exclusions(taken.starts, taken.rows, self.reasons[self.positions(owners)])

    def where(self, chosen: Bool[np.ndarray, " flat"]) -> "Exclusions":
        """The exclusions for which `chosen` is true, of the same queries."""
        kept = super().where(chosen)
        return Exclusions(kept.starts, kept.rows, self.reasons[chosen])

    def in_gallery(self, row_of: Int64[np.ndarray, " gallery"]) -> "Exclusions":
        """The same exclusions by the rows of another gallery.

        Args:
            row_of: For each row of this gallery the row of the same image in the other gallery, or
                `NO_ROW` where the other gallery lacks the image.
        """
        kept = self.where(row_of[self.rows] != NO_ROW)
        queries, rows = kept.pairs()
        rows = row_of[rows]
        order = np.lexsort((rows, queries))
        return Exclusions(kept.starts, rows[order], kept.reasons[order])


def exclusions_of(rows: Rows) -> Ragged:
    """The excluded rows of each query from lists in any order, in which rows may be repeated.

    Raises:
        UsageError: they are no rows.
    """
    return Ragged.of_lists([sorted(set(own)) for own in row_lists("rows", rows)])
