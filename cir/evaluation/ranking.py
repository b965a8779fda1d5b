"""One category's queries ranked by one way to compose them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from cir.artefacts.store import Embeddings
from cir.evaluation.protocol import RankingTask
from cir.evaluation.retrieval import rank_targets, top_k
from cir.models.composition import composed_queries


@dataclass(frozen=True, eq=False)
class ComposedTask:
    """A ranking task with the unit vectors that decide it."""

    task: RankingTask
    queries: Float[np.ndarray, "queries dim"]
    gallery: Float[np.ndarray, "gallery dim"]
    device: torch.device

    def ranks(self) -> Int[np.ndarray, " queries"]:
        """The rank of each query's best target; 1 is first."""
        return rank_targets(
            self.queries, self.gallery, self.task.targets, self.task.removed, device=self.device
        )

    def first(self, k: int) -> list[tuple[str, ...]]:
        """Ids of the images that stand first for each query."""
        rows = top_k(
            self.queries,
            self.gallery,
            min(k, len(self.gallery)),
            self.task.removed,
            device=self.device,
        )
        return [tuple(self.task.gallery[row] for row in found) for found in rows]


def compose_task(
    task: RankingTask,
    texts: Sequence[str],
    embeddings: Embeddings,
    combiner: nn.Module,
    device: torch.device,
) -> ComposedTask:
    """Composes every query of `task`, its captions read as `texts`.

    Args:
        task: Queries and gallery.
        texts: What each query's captions say.
        embeddings: Vectors of the images and texts.
        combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
        device: Where vectors are composed and compared.

    Raises:
        StoreError: an image or a text has no vector.
        VectorError: a vector has no direction.
    """
    return ComposedTask(
        task=task,
        queries=composed_queries(task.queries, texts, embeddings, combiner, device),
        gallery=embeddings.images.unit(task.gallery, f"the {task.category} gallery"),
        device=device,
    )
