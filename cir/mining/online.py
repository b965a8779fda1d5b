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
            images: What each is called in the exclusions of a query; each once.
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
        barred: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
    ) -> tuple[Float[Tensor, "batch negatives dim"], Bool[Tensor, "batch negatives"]]:
        """The vectors of the nearest valid images of each query, nearest first; which are there.

        So many more are searched for than any query has exclusions that none is missed.

        Args:
            query: Composed queries, unit vectors, detached.
            barred: (place of the query in the batch, image) of every image that is no negative.
        """
        most = int(np.bincount(barred[0], minlength=1).max())
        wanted = min(self._top_k + most, len(self._images))
        _, found = self._index.search(query.cpu().numpy(), wanted)
        valid = ~_among(self._images[found], barred)
        first = np.argsort(~valid, axis=1, kind="stable")[:, : self._top_k]
        rows = torch.from_numpy(np.take_along_axis(found, first, axis=1))
        present = torch.from_numpy(np.take_along_axis(valid, first, axis=1))
        device = self._vectors.device
        return self._vectors[rows.to(device)], present.to(device)


def _among(
    images: Int64[np.ndarray, "batch found"],
    barred: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
) -> Bool[np.ndarray, "batch found"]:
    """Whether each image is barred for the query of its row."""
    queries, named = barred
    span = 1 + max(images.max(initial=0), named.max(initial=0))
    asked = np.arange(len(images))[:, None] * span + images
    among: Bool[np.ndarray, "batch found"] = np.isin(asked, queries * span + named)
    return among
