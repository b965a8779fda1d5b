"""The losses of training, over unit vectors: d(x, y) = 1 - x·y is the cosine distance.

q is a composed query, t its target, c a negative, m the margin.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Triplet:
    """The triplet term of one batch."""

    loss: Float[Tensor, ""]
    active_share: Float[Tensor, ""]
    """Share of the triplets whose loss is above zero: those that still teach something."""


def triplet_loss(
    query: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "batch negatives dim"],
    present: Bool[Tensor, "batch negatives"],
    margin: float,
) -> Triplet:
    """The mean over all triplets of max(0, m + d(q, t) - d(q, c)).

    Queries with fewer negatives than others weigh less: every triplet counts the same, as in
    Schroff et al., FaceNet (CVPR 2015), equation 3. Without any triplet the loss is zero.

    Args:
        query: Composed queries, unit vectors.
        target: Their targets, unit vectors.
        negatives: Their negatives, unit vectors where `present`, anything finite elsewhere.
        present: Which places of `negatives` hold one.
        margin: m, in cosine distance.
    """
    to_target = 1 - torch.einsum("bd,bd->b", query, target)
    to_negatives = 1 - torch.einsum("bd,bnd->bn", query, negatives)
    hinge = functional.relu(margin + to_target[:, None] - to_negatives) * present
    triplets = present.sum().clamp(min=1)
    return Triplet(hinge.sum() / triplets, (hinge.detach() > 0).sum() / triplets)


def contrastive_loss(
    query: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    ignored: Bool[Tensor, "batch batch"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross entropy of each query's own target among the targets of the batch.

    InfoNCE (van den Oord et al., 2018, equation 4) with logits q·t / temperature.

    Args:
        query: Composed queries, unit vectors.
        target: Their targets, unit vectors.
        ignored: [i, j] is true where query i must not be pushed away from target j because it
            would be right as well; false on the diagonal.
        temperature: Divides the cosines.
    """
    logits = (query @ target.T / temperature).masked_fill(ignored, -math.inf)
    return functional.cross_entropy(logits, torch.arange(len(query), device=query.device))
