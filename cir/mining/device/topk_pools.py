"""The best candidates of each pool so far, on a device."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from cir.types import NO_ROW


class Pools(NamedTuple):
    """The candidates of least (key, gallery row), in this order; behind the last are `NO_ROW`."""

    keys: Float64[Tensor, "queries pools kept"]
    rows: Int64[Tensor, "queries pools kept"]
    distances: Float32[Tensor, "queries pools kept"]

    def block(self, queries: slice) -> "Pools":
        """A view of those of some queries."""
        return Pools(*(field[queries] for field in self))

    @property
    def full(self) -> Bool[Tensor, "queries pools"]:
        """Which keep as many as they can."""
        return self.rows[:, :, -1] != NO_ROW

    def offer(
        self,
        owners: Int64[Tensor, " pairs"],
        keys: Float64[Tensor, " pairs"],
        rows: Int64[Tensor, " pairs"],
        distances: Float32[Tensor, " pairs"],
    ) -> None:
        """Offers candidates to the pools, which keep the best.

        Args:
            owners: The pool of each: query × pools + pool; the number of all pools enters none.
            keys: What the pool orders by.
            rows: Rows in the whole gallery: beyond those of earlier candidates, and ascending
                among those of one owner, so that equal keys stay in their order.
            distances: To the query.
        """
        known = self._owners()
        order, owners = _ordered(torch.cat([known, owners]), torch.cat([self.keys.flatten(), keys]))
        place = self._places(owners)
        for field, new in zip(self, (keys, rows, distances), strict=True):
            # One more place, for all that are not kept.
            kept = _empty_like(field, field.numel() + 1)
            kept[place] = torch.cat([field.flatten(), new])[order]
            field.copy_(kept[:-1].view(field.shape))

    def _owners(self) -> Int64[Tensor, " entries"]:
        """The pool of each entry; the number of all pools for empty ones."""
        queries, pools, _ = self.rows.shape
        numbers = torch.arange(queries * pools, device=self.rows.device)
        every = numbers.view(queries, pools, 1).expand_as(self.rows)
        return every.masked_fill(self.rows == NO_ROW, queries * pools).flatten()

    def _places(self, owners: Int64[Tensor, " entries"]) -> Int64[Tensor, " entries"]:
        """Where entries that are ordered by owner and key are kept."""
        queries, pools, kept = self.rows.shape
        numbers = torch.arange(queries * pools + 1, device=owners.device)
        starts = torch.searchsorted(owners, numbers)
        rank = torch.arange(len(owners), device=owners.device) - starts[owners]
        outside = (owners == queries * pools) | (rank >= kept)
        return (owners * kept + rank).masked_fill(outside, self.rows.numel())


def empty_pools(queries: int, pools: int, kept: int, device: torch.device) -> Pools:
    """Pools before any candidate was offered."""
    shape = (queries, pools, kept)
    return Pools(
        torch.full(shape, torch.inf, dtype=torch.float64, device=device),
        torch.full(shape, NO_ROW, dtype=torch.int64, device=device),
        torch.full(shape, torch.nan, dtype=torch.float32, device=device),
    )


def _empty_like(field: Tensor, size: int) -> Tensor:
    """So many entries of no candidate."""
    none = {torch.float64: torch.inf, torch.int64: NO_ROW, torch.float32: torch.nan}[field.dtype]
    return torch.full((size,), none, dtype=field.dtype, device=field.device)


def _ordered(
    owners: Int64[Tensor, " entries"], keys: Float64[Tensor, " entries"]
) -> tuple[Int64[Tensor, " entries"], Int64[Tensor, " entries"]]:
    """Positions by (owner, key), equal ones as they come; and the owners in that order."""
    by_key = keys.sort(stable=True).indices
    sorted_owners, by_owner = owners[by_key].sort(stable=True)
    return by_key[by_owner], sorted_owners
