"""Online negatives: found while training, among the current vectors of the gallery."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.machine.runtime import upload
from cir.mining.faiss_index import FlatIndex
from cir.ragged import RowOf
from cir.types import NO_ROW

_AT_ONCE = 1 << 26
"""Cosines in memory at once: 256 MiB."""


class OnlineNegatives:
    """The valid gallery images nearest to each query: by FAISS, or on the device of the vectors."""

    def __init__(
        self,
        vectors: Float[np.ndarray, "gallery dim"],
        images: Int64[np.ndarray, " gallery"],
        top_k: int,
        device: torch.device,
    ) -> None:
        """Keeps the vectors on the device.

        Args:
            vectors: The current vectors of the gallery.
            images: The number of each in the exclusions of a query; each once.
            top_k: Valid images given for each query; fewer where the gallery holds fewer.
            device: Where the search runs.
        """
        directions = normalised(vectors, "the gallery")
        # On the CPU, FAISS was measured twice as fast as the product and torch's topk.
        self._index = FlatIndex(directions, device) if device.type == "cpu" else None
        self._vectors = torch.from_numpy(directions).to(device)
        self._images = torch.from_numpy(images).to(device)
        self._row_of = RowOf(images)
        self._top_k = min(top_k, len(images))

    def nearest(
        self,
        query: Float[Tensor, "batch dim"],
        excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
    ) -> tuple[
        Float[Tensor, "batch negatives dim"],
        Bool[Tensor, "batch negatives"],
        Int64[Tensor, "batch negatives"],
    ]:
        """Vectors of each query's nearest valid images, nearest first; which are there; numbers.

        Args:
            query: Composed queries, unit vectors, detached.
            excluded: (row of the query in the batch, image) of every image that is no negative, in
                the order of the queries.
        """
        if self._index is not None:
            cosines, rows = self._searched(self._index, query, excluded)
        else:
            at_once = max(1, _AT_ONCE // len(self._vectors))
            parts = [
                self._compared(query, excluded, start, min(start + at_once, len(query)))
                for start in range(0, len(query), at_once)
            ]
            cosines, rows = (torch.cat(each) for each in zip(*parts, strict=True))
        return self._vectors[rows], cosines > -torch.inf, self._images[rows]

    def _searched(
        self,
        index: FlatIndex,
        query: Float[Tensor, "batch dim"],
        excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
    ) -> tuple[Float[Tensor, "batch negatives"], Int64[Tensor, "batch negatives"]]:
        """As `_compared`, of all queries: so many more are searched for than any has exclusions."""
        most_excluded = int(np.bincount(excluded[0], minlength=1).max())
        cosines, nearest = index.search(query.float().numpy(), self._top_k + most_excluded)
        pairs = np.arange(len(query))[:, None] * len(self._vectors) + nearest
        rows = self._row_of(excluded[1])
        held = rows != NO_ROW
        is_excluded = np.isin(pairs, excluded[0][held] * len(self._vectors) + rows[held])
        first = np.argsort(is_excluded, axis=1, kind="stable")[:, : self._top_k]
        scored = np.where(is_excluded, np.float32(-np.inf), cosines)
        found = (np.take_along_axis(each, first, axis=1) for each in (scored, nearest))
        best, best_rows = map(torch.from_numpy, found)
        return best, best_rows

    def _compared(
        self,
        query: Float[Tensor, "batch dim"],
        excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
        start: int,
        stop: int,
    ) -> tuple[Float[Tensor, "part negatives"], Int64[Tensor, "part negatives"]]:
        """Cosines and rows of the best of some queries; excluded ones are at minus infinity."""
        owners, images = excluded
        own = slice(*np.searchsorted(owners, (start, stop)))
        rows = self._row_of(images[own])
        held = rows != NO_ROW
        cosines = query[start:stop].float() @ self._vectors.T
        index = (owners[own][held] - start, rows[held])
        at = tuple(upload(each, cosines.device) for each in index)
        cosines.index_put_(at, cosines.new_full((), -torch.inf))
        best = cosines.topk(self._top_k, dim=1)
        return best.values, best.indices
