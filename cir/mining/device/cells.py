"""One block of queries and one tile of the gallery: a product, and the pairs it leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from cir.mining.device.pairs import Pairs, compare
from cir.mining.device.pools import Pools
from cir.mining.device.selection import may_enter
from cir.mining.device.uploads import Question, Tile
from cir.types import SCOPES

_PAIRS: Final = 1 << 20
"""Pairs that are compared exactly at once, which bounds the memory."""
_CROWDED: Final = 4
"""Pairs left open for each place in a pool, from which a closer look at the products pays."""

Mask = Bool[Tensor, "queries rows"]
Excluded = tuple[Int64[Tensor, " excluded"], Int64[Tensor, " excluded"]]


@dataclass(frozen=True, eq=False)
class Cell:
    """A block and a tile; what is found is added to the counts and the pools of the block."""

    question: Question
    tile: Tile
    counts: Int64[Tensor, "queries thresholds two"]
    pools: Pools
    products: Float32[Tensor, "queries rows"]
    """Distances, but for the error of a product; infinite where a candidate is excluded."""
    own: Mask | None
    """Candidates of the query's category; None where the plan draws by none."""

    def scan(self, *, first: bool) -> None:
        """Scans the tile.

        Args:
            first: Whether nothing was scanned before, so that no pool is full.
        """
        doubtful = self._count_surely()
        found = self._open_pairs(doubtful, narrow=first)
        if not first and len(found) > _CROWDED * self.pools.rows.numel() + doubtful.shape[0]:
            found = self._open_pairs(doubtful, narrow=True)
        for part in torch.split(found, _PAIRS) if len(found) else ():
            pairs = Pairs.of_marks(part, *self.products.shape)
            compare(pairs, self.products, self.question, self.tile, self.counts, self.pools)

    def _open_pairs(self, doubtful: Mask, *, narrow: bool) -> Int64[Tensor, " pairs"]:
        """Where pairs need a closer look, in flattened marks. Only here the host has to wait."""
        return torch.stack([doubtful, *self._may_enter(narrow=narrow)]).flatten().nonzero()[:, 0]

    def _may_enter(self, *, narrow: bool) -> Iterator[Mask]:
        """For each pool, the candidates that may enter it."""
        for pool, scope in enumerate(self.question.sampling.scopes):
            yield may_enter(
                self.products,
                self.question,
                self.tile,
                self.pools,
                pool,
                self._in_scope(scope),
                narrow=narrow,
            )

    def _in_scope(self, scope: int) -> Mask | None:
        if self.own is None or SCOPES[scope] == "any":
            return None
        return self.own if SCOPES[scope] == "same-category" else ~self.own

    def _count_surely(self) -> Mask:
        """Counts what is surely below each threshold; marks what may be on either side of one."""
        thresholds, doubtful = (
            self.question.thresholds,
            torch.zeros_like(self.products, dtype=torch.bool),
        )
        number: Tensor | int = 0
        for column, tied in enumerate(self.question.sampling.tied):
            if not tied:
                below = self.products < thresholds.least[:, column, None]
                doubtful |= below.logical_xor(self.products <= thresholds.most[:, column, None])
                number = self._numbers(below)
            self.counts[:, column] += number
        return doubtful

    def _numbers(self, marks: Mask) -> Int64[Tensor, "queries two"]:
        """How many are marked: of all, and of the query's category."""
        every = marks.sum(dim=1)
        own = torch.zeros_like(every) if self.own is None else (marks & self.own).sum(dim=1)
        return torch.stack([every, own], dim=1)


def cell_of(
    question: Question,
    tile: Tile,
    counts: Int64[Tensor, "queries thresholds two"],
    pools: Pools,
    excluded: Excluded,
) -> Cell:
    """Multiplies a block with a tile.

    Args:
        question: That of the block.
        tile: The candidates.
        counts: Those of the block, which are changed.
        pools: Those of the block, which are changed.
        excluded: (query, position) of pairs that are none.
    """
    products = 1 - question.vectors @ tile.vectors.T
    products[excluded] = torch.inf
    own = tile.members[question.categories] if len(tile.members) else None
    return Cell(question, tile, counts, pools, products, own)
