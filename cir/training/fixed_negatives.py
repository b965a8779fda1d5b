"""The triplet loss on negatives that never change, by which the losses of epochs compare.

The loss that training minimises is taken over negatives that each mining makes harder, so it may
rise while the model gets better. Over the negatives that the run began with, it falls.
"""

from typing import Final

import numpy as np
import torch
from torch import nn

from cir.artefacts.manifest_statistics import owners
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.captions import joined
from cir.models.composition import composed_queries
from cir.training.train_data import TrainSet

_QUERIES: Final = 1000
"""Queries that are measured at most, evenly spaced in the manifest."""


class FixedNegatives:
    """Some queries of the given manifest, with the negatives that it gives them."""

    def __init__(self, data: TrainSet, margin: float, device: torch.device) -> None:
        """Chooses the queries.

        Args:
            data: The training queries and the manifest that the run was given.
            margin: Of the triplet loss, in cosine distance.
            device: Where queries are composed.
        """
        count = len(data.manifest)
        rows = np.unique(np.linspace(0, count - 1, min(count, _QUERIES)).astype(np.int64))
        self._manifest = data.manifest.subset(rows)
        self._queries = [data.queries[row] for row in rows.tolist()]
        self._margin = margin
        self._device = device

    def loss(self, vectors: Embeddings, combiner: nn.Module) -> float | None:
        """Mean of max(0, m + d(q, t) - d(q, c)) over all pairs of a query and a negative c.

        That is the loss of FaceNet (Schroff et al., CVPR 2015, equation 3), in cosine distance.

        Args:
            vectors: Of images and captions, as the encoder gives them now.
            combiner: Composes the queries, in evaluation mode.

        Returns:
            None where the manifest holds no negatives.
        """
        if not self._manifest.negative_ids:
            return None
        texts = [joined(query.captions) for query in self._queries]
        composed = composed_queries(self._queries, texts, vectors, combiner, self._device)
        targets = normalised(vectors.images.take(self._manifest.target_ids), "targets")
        negatives = normalised(vectors.images.take(self._manifest.negative_ids), "negatives")
        of_query = owners(self._manifest)
        nearness = np.einsum("qd,qd->q", composed, targets)[of_query]
        slack = self._margin - nearness + np.einsum("nd,nd->n", composed[of_query], negatives)
        return float(np.maximum(slack, 0).mean(dtype=np.float64))
