"""Online negatives: found while training, among the current vectors of the gallery."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.mining.index import FlatIndex


class OnlineNegatives:
    """The hardest valid one of the gallery vectors nearest to each query."""

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
            images: What each is called in the exclusions of a query.
            top_k: Gallery vectors looked at for each query; where none of them is valid the query
                has no negative in this step.
            device: Where the search runs.
        """
        directions = normalised(vectors, "the gallery")
        self._index = FlatIndex(directions, device)
        self._vectors = torch.from_numpy(directions).to(device)
        self._images = images
        self._top_k = min(top_k, len(images))

    def hardest(
        self, query: Float[Tensor, "batch dim"], barred: Sequence[Int[np.ndarray, " _"]]
    ) -> tuple[Float[Tensor, "batch dim"], Bool[Tensor, " batch"]]:
        """The vector of the nearest valid gallery image of each query, and whether there is one.

        Args:
            query: Composed queries, unit vectors, detached.
            barred: For each query, the images that are no negatives of it.
        """
        _, nearest = self._index.search(query.cpu().numpy(), self._top_k)
        named = self._images[nearest]
        valid = np.stack([~np.isin(row, no) for row, no in zip(named, barred, strict=True)])
        first = np.take_along_axis(nearest, valid.argmax(axis=1)[:, None], axis=1)[:, 0]
        device = self._vectors.device
        return (
            self._vectors[torch.from_numpy(first).to(device)],
            torch.from_numpy(valid.any(axis=1)).to(device),
        )
