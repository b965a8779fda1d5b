"""Online negatives: found while training, among the current vectors of the gallery."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.ragged import RowOf
from cir.runtime import upload
from cir.types import NO_ROW

_AT_ONCE = 1 << 26
"""Cosines in memory at once: 256 MiB."""


class OnlineNegatives:
    """The valid gallery images nearest to each query, found where the vectors are."""

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
        self._vectors = torch.from_numpy(normalised(vectors, "the gallery")).to(device)
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
        at_once = max(1, _AT_ONCE // len(self._vectors))
        parts = [
            self._nearest_of(query, excluded, start, min(start + at_once, len(query)))
            for start in range(0, len(query), at_once)
        ]
        cosines, rows = (torch.cat(each) for each in zip(*parts, strict=True))
        return self._vectors[rows], cosines > -torch.inf, self._images[rows]

    def _nearest_of(
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
