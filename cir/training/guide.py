"""A guide that masks false negatives inside the loss: the vectors that the store was embedded with.

GISTEmbed (Solatorio, Guided In-sample Selection of Training Negatives, 2024, arXiv 2402.16829,
section 3): a second model, the guide, looks at the candidates of the contrastive loss, and those
that it holds to be too much like the positive are left out. There, too much is more than the
guide's similarity of query and positive. A query of two parts has no such similarity that could be
relied on, for the plain sum of a reference and its text ranks its target poorly; here a candidate c
of a query with target t is left out where the guide's cosine of t and c is above a threshold.

The guide never moves: with tuned towers, too, it is the store that training began with.
"""

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from cir.artefacts.vectors import normalised
from cir.machine.runtime import upload
from cir.models.losses import ContrastCandidates


class Guide:
    """Says which images are too much like a target to be its query's negatives."""

    def __init__(
        self, vectors: Float[np.ndarray, "images dim"], threshold: float, device: torch.device
    ) -> None:
        """Keeps the vectors on the device.

        Args:
            vectors: Of the store's images, of any length above zero.
            threshold: The cosine above which an image is too much like a target.
            device: Where the run trains.
        """
        self._vectors = torch.from_numpy(normalised(vectors, "the guide")).to(device)
        self._threshold = threshold

    def alike(
        self,
        targets: Int64[np.ndarray, " batch"],
        images: Int64[np.ndarray, " candidates"]
        | Int64[np.ndarray, "batch candidates"]
        | Int64[Tensor, "batch candidates"],
    ) -> Bool[Tensor, "batch candidates"]:
        """[i, j] is true where image j is too much like target i.

        Args:
            targets: Rows of the store.
            images: Rows of the store, the same for all targets or separate for each.
        """
        target, image = self._of(targets), self._of(images)
        if images.ndim == 1:
            return target @ image.T > self._threshold
        return torch.einsum("bd,bnd->bn", target, image) > self._threshold

    def masked(
        self,
        group: ContrastCandidates,
        targets: Int64[np.ndarray, " batch"],
        images: Int64[np.ndarray, " candidates"],
    ) -> ContrastCandidates:
        """A group without the negatives that are too much like the target; positives stay.

        Args:
            group: Candidates that all queries share.
            targets: Of the queries, as rows of the store.
            images: The candidates, as rows of the store.
        """
        alike = self.alike(targets, images)
        if group.positive is not None:
            alike &= ~group.positive
        return dataclasses.replace(group, excluded=group.excluded | alike)

    def _of(
        self, rows: Int64[np.ndarray, "*shape"] | Int64[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape dim"]:
        if isinstance(rows, np.ndarray):
            rows = upload(rows, self._vectors.device)
        return self._vectors[rows]
