"""Where the triplet term's negatives come from: the manifest, or a search while training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cir.mining.online import OnlineNegatives
from cir.training.batches import Batch
from cir.training.towers import Features


@dataclass(frozen=True)
class Negatives:
    """The vectors of a batch's negatives, however they were found."""

    vectors: Float[Tensor, "batch negatives dim"]
    present: Bool[Tensor, "batch negatives"]


NegativeSource = Callable[[Batch, Features, Float[Tensor, "batch dim"]], Negatives]
"""Gives a batch's negatives from the batch, its images, and its composed queries, detached."""


def manifest_negatives(
    batch: Batch, images: Features, query: Float[Tensor, "batch dim"]
) -> Negatives:
    """The negatives that were mined for the batch's queries."""
    return Negatives(images(batch.negatives), torch.from_numpy(batch.present).to(query.device))


def online_negatives(
    gallery: OnlineNegatives, query_ids: Sequence[str], barred: Mapping[str, Int[np.ndarray, " _"]]
) -> NegativeSource:
    """The hardest valid negative near each query, searched for at every step.

    Args:
        gallery: What is searched; its vectors get no gradient.
        query_ids: Ids by row of the training rows.
        barred: For each query id, the images that are no negatives of it.
    """

    def search(batch: Batch, images: Features, query: Float[Tensor, "batch dim"]) -> Negatives:
        ids = [query_ids[row] for row in batch.queries]
        vectors, present = gallery.hardest(query, [barred[i] for i in ids])
        return Negatives(vectors[:, None], present[:, None])

    return search
