"""One block of queries and one tile of the gallery: a product, and the pairs it leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from cir.mining.device.pairs import Pairs, compare_exactly
from cir.mining.device.pool_bounds import may_enter
from cir.mining.device.request import DeviceRequest, Tile
from cir.mining.device.topk_pools import Pools
from cir.types import SCOPES

_PAIRS: Final = 1 << 20
"""Pairs that are compared exactly at once, which bounds the memory."""
_CROWDED: Final = 4
"""Pairs left open for each place in a pool, from which a closer look at the products pays."""

Mask = Bool[Tensor, "queries rows"]
Excluded = tuple[Int64[Tensor, " excluded"], Int64[Tensor, " excluded"]]


@dataclass(frozen=True, eq=False)
class TileScan:
    """A block and a tile; what is found is added to the counts and the pools of the block."""

    request: DeviceRequest
    tile: Tile
    counts: Int64[Tensor, "queries thresholds two"]
    pools: Pools
    products: Float32[Tensor, "queries rows"]
    """Distances, but for the error of a product; infinite where a candidate is excluded."""
    in_category: Mask | None
    """Candidates of the query's category; None where the plan draws by none."""

    @classmethod
    def of(
        cls,
        request: DeviceRequest,
        tile: Tile,
        counts: Int64[Tensor, "queries thresholds two"],
        pools: Pools,
        excluded: Excluded,
    ) -> "TileScan":
        """Multiplies a block with a tile.

        Args:
            request: That of the block.
            tile: The candidates.
            counts: Those of the block, which are changed.
            pools: Those of the block, which are changed.
            excluded: (query, position) of pairs that are none.
        """
        products = 1 - request.vectors @ tile.vectors.T
        products[excluded] = torch.inf
        in_category = tile.members[request.categories] if len(tile.members) else None
        return cls(request, tile, counts, pools, products, in_category)

    def run(self, *, first: bool) -> None:
        """Scans the tile.

        Args:
            first: Whether nothing was scanned before, so that no pool is full.
        """
        ambiguous = self._count_surely_below()
        found = self._open_pairs(ambiguous, narrow=first)
        if not first and len(found) > _CROWDED * self.pools.rows.numel() + ambiguous.shape[0]:
            found = self._open_pairs(ambiguous, narrow=True)
        for part in torch.split(found, _PAIRS) if len(found) else ():
            pairs = Pairs.of_marked(part, *self.products.shape)
            compare_exactly(pairs, self.products, self.request, self.tile, self.counts, self.pools)

    def _open_pairs(self, ambiguous: Mask, *, narrow: bool) -> Int64[Tensor, " pairs"]:
        """Where pairs need a closer look, in flattened marks. Only here the host has to wait."""
        return torch.stack([ambiguous, *self._may_enter(narrow=narrow)]).flatten().nonzero()[:, 0]

    def _may_enter(self, *, narrow: bool) -> Iterator[Mask]:
        """For each pool, the candidates that may enter it."""
        for pool, scope in enumerate(self.request.settings.scopes):
            yield may_enter(
                self.products,
                self.request,
                self.tile,
                self.pools,
                pool,
                self._in_scope(scope),
                narrow=narrow,
            )

    def _in_scope(self, scope: int) -> Mask | None:
        if self.in_category is None or SCOPES[scope] == "any":
            return None
        return self.in_category if SCOPES[scope] == "same-category" else ~self.in_category

    def _count_surely_below(self) -> Mask:
        """Counts what is surely below each threshold; marks what may be on either side of one."""
        thresholds, ambiguous = (
            self.request.thresholds,
            torch.zeros_like(self.products, dtype=torch.bool),
        )
        counted: Tensor | int = 0
        for column, tied in enumerate(self.request.settings.tied):
            if not tied:
                below = self.products < thresholds.least[:, column, None]
                ambiguous |= below.logical_xor(self.products <= thresholds.most[:, column, None])
                counted = self._counted(below)
            self.counts[:, column] += counted
        return ambiguous

    def _counted(self, marked: Mask) -> Int64[Tensor, "queries two"]:
        """How many are marked: of all, and of the query's category."""
        every = marked.sum(dim=1)
        if self.in_category is None:
            return torch.stack([every, torch.zeros_like(every)], dim=1)
        return torch.stack([every, (marked & self.in_category).sum(dim=1)], dim=1)
