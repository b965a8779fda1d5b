"""Online negatives: found while training, among the current vectors of the gallery."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.mining.faiss_index import FlatIndex


class OnlineNegatives:
    """The valid gallery images nearest to each query."""

    def __init__(
        self,
        vectors: Float[np.ndarray, "gallery dim"],
        images: Int64[np.ndarray, " gallery"],
        top_k: int,
        device: torch.device,
    ) -> None:
        """Builds the index.

        Args:
            vectors: The current vectors of the gallery.
            images: The number of each in the exclusions of a query; each once.
            top_k: Valid images given for each query; fewer where the gallery holds fewer.
            device: Where the search runs.
        """
        directions = normalised(vectors, "the gallery")
        self._index = FlatIndex(directions, device)
        self._vectors = torch.from_numpy(directions).to(device)
        self._images = images
        self._top_k = min(top_k, len(images))

    def nearest(
        self,
        query: Float[Tensor, "batch dim"],
        excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
    ) -> tuple[
        Float[Tensor, "batch negatives dim"],
        Bool[Tensor, "batch negatives"],
        Int64[np.ndarray, "batch negatives"],
    ]:
        """Vectors of each query's nearest valid images, nearest first; which are there; numbers.

        So many more are searched for than any query has exclusions that none is missed.

        Args:
            query: Composed queries, unit vectors, detached.
            excluded: (row of the query in the batch, image) of every image that is no negative.
        """
        most_excluded = int(np.bincount(excluded[0], minlength=1).max())
        k = min(self._top_k + most_excluded, len(self._images))
        _, nearest = self._index.search(query.cpu().numpy(), k)
        valid = ~_is_excluded(self._images[nearest], excluded)
        first = np.argsort(~valid, axis=1, kind="stable")[:, : self._top_k]
        rows = np.take_along_axis(nearest, first, axis=1)
        present = torch.from_numpy(np.take_along_axis(valid, first, axis=1))
        device = self._vectors.device
        vectors = self._vectors[torch.from_numpy(rows).to(device)]
        return vectors, present.to(device), self._images[rows]


def _is_excluded(
    images: Int64[np.ndarray, "batch k"],
    excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
) -> Bool[np.ndarray, "batch k"]:
    """Whether each image is excluded for the query of its row."""
    queries, excluded_images = excluded
    span = 1 + max(images.max(initial=0), excluded_images.max(initial=0))
    pairs = np.arange(len(images))[:, None] * span + images
    is_excluded: Bool[np.ndarray, "batch k"] = np.isin(pairs, queries * span + excluded_images)
    return is_excluded
