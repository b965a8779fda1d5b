"""The losses of training, over unit vectors: d(x, y) = 1 - x·y is the cosine distance.

q is a composed query, t its target, c a negative, m the margin. A term is a sum and the count that
it is over, so that processes with a part of a batch each can divide by the whole batch's count.
Queries may have weights: then both are weighted, and the loss is the weighted mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from cir import arguments
from cir.models.hardness import log_weights
from cir.types import TripletForm, TripletReduction


@dataclass(frozen=True)
class Term:
    """A loss summed over triplets or queries."""

    summed: Float[Tensor, ""]
    count: Float[Tensor, ""]
    """Triplets or queries that the sum is over, or their weights; the loss is their mean."""

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The loss; zero, with a gradient of zero, where nothing counts."""
        return self.summed / self.count.clamp(min=1)


@dataclass(frozen=True)
class Triplets(Term):
    """The triplet term of a batch."""

    active: Float[Tensor, ""]
    """Triplets, or their weights, with m + d(q, t) - d(q, c) above zero: those that still violate
    the margin."""


@dataclass(frozen=True)
class ContrastCandidates:
    """A group of candidates of the contrastive term, and what each is to every query."""

    vectors: Float[Tensor, "candidates dim"] | Float[Tensor, "batch candidates dim"]
    """Unit vectors, shared by all queries or separate for each; finite where `excluded`, too."""
    excluded: Bool[Tensor, "batch candidates"]
    """Where a query does not meet a candidate: it neither pulls nor pushes."""
    positive: Bool[Tensor, "batch candidates"] | None = None
    """Where a candidate that is not excluded answers a query; nowhere if None."""

    def __post_init__(self) -> None:
        arguments.tensor("excluded", self.excluded, None, None, flags=True)
        batch, candidates = self.excluded.shape
        if self.positive is not None:
            arguments.tensor("positive", self.positive, batch, candidates, flags=True)
        shared = isinstance(self.vectors, Tensor) and self.vectors.ndim == 2
        rows = (candidates,) if shared else (batch, candidates)
        arguments.tensor("vectors", self.vectors, *rows, None)


def triplet_loss(
    query: Float[Tensor, "batch dim"],
    target: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "batch negatives dim"],
    present: Bool[Tensor, "batch negatives"],
    margin: float,
    form: TripletForm = "hinge",
    reduction: TripletReduction = "mean",
    weights: Float[Tensor, " batch"] | None = None,
) -> Triplets:
    """The triplet loss over mined negatives.

    With x = m + d(q, t) - d(q, c), a triplet loses max(0, x) by the hinge (Schroff et al., FaceNet,
    CVPR 2015, equation 3) or ln(1 + exp x) by softplus (Hermans et al., In Defense of the Triplet
    Loss, 2017, section 2.3). Every triplet counts the same, or of each query the hardest alone.

    Args:
        query: Composed queries, unit vectors.
        target: Their targets, unit vectors.
        negatives: Their negatives, unit vectors where `present`, anything finite elsewhere.
        present: Which slots of `negatives` hold one.
        margin: m, in cosine distance.
        form: hinge or softplus.
        reduction: mean over all triplets, or over the hardest triplet of each query.
        weights: What each query's triplets count; 1 if None.

    Raises:
        UsageError: an argument is of another kind or shape.
    """
    _require_triplets(query, target, negatives, present)
    _require_weights(query, weights)
    arguments.real("margin", margin, -math.inf, math.inf)
    arguments.choice("form", form, get_args(TripletForm))
    arguments.choice("reduction", reduction, get_args(TripletReduction))
    to_target = 1 - torch.einsum("bd,bd->b", query, target)
    to_negatives = 1 - torch.einsum("bd,bnd->bn", query, negatives)
    excess = margin + to_target[:, None] - to_negatives
    if reduction == "hardest" and present.shape[1]:
        hardest = excess.detach().masked_fill(~present, -math.inf).argmax(dim=1, keepdim=True)
        excess, present = excess.gather(1, hardest), present.gather(1, hardest)
    lost = functional.relu(excess) if form == "hinge" else functional.softplus(excess)
    counted = present.to(query.dtype)
    if weights is not None:
        counted = counted * weights[:, None]
    active = (excess.detach() > 0).to(query.dtype) * counted
    return Triplets(summed=(lost * counted).sum(), count=counted.sum(), active=active.sum())


def contrastive_loss(
    query: Float[Tensor, "batch dim"],
    groups: Sequence[ContrastCandidates],
    temperature: float | Float[Tensor, ""],
    *,
    hardness: float = 0.0,
    weights: Float[Tensor, " batch"] | None = None,
) -> Term:
    """Cross entropy of each query's positives among all of its candidates.

    InfoNCE (van den Oord et al., 2018, equation 4) with logits q·c / temperature; where a query has
    several positives P among its candidates C, their mean, as in supervised contrastive learning
    (Khosla et al., NeurIPS 2020, equation 2):

        -1/|P| sum_{p in P} log( exp(q·p / temperature) / sum_{c in C} exp(q·c / temperature) )

    Args:
        query: Composed queries, unit vectors.
        groups: The candidates; each query has a positive in at least one group.
        temperature: Divides the cosines.
        hardness: β of `cir.models.hardness`; 0 counts all negatives the same.
        weights: What each query counts; 1 if None.

    Raises:
        UsageError: an argument is of another kind or shape, or there is no group.
    """
    _require_groups(query, groups)
    _require_weights(query, weights)
    arguments.real("hardness", hardness, 0, math.inf)
    if not isinstance(temperature, Tensor):
        arguments.positive("temperature", temperature)
    similarities = torch.cat([_similarities(query, group) for group in groups], dim=1)
    excluded = torch.cat([group.excluded for group in groups], dim=1)
    positive = torch.cat([_positives(group) for group in groups], dim=1)
    # Masked after the division: a temperature that is learned has no gradient at infinity.
    logits = (similarities / temperature).masked_fill(excluded, -math.inf)
    pulled = logits.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1)
    if hardness:
        logits = logits + log_weights(logits, ~excluded & ~positive, hardness)
    lost = logits.logsumexp(dim=1) - pulled
    if weights is None:
        return Term(lost.sum(), lost.new_full((), float(len(lost))))
    return Term((lost * weights).sum(), weights.sum())


def _require_triplets(query: Tensor, target: Tensor, negatives: Tensor, present: Tensor) -> None:
    """Raises UsageError unless there is a target and as many negatives for each query."""
    arguments.tensor("query", query, None, None)
    batch, dim = query.shape
    arguments.tensor("target", target, batch, dim)
    arguments.tensor("present", present, batch, None, flags=True)
    arguments.tensor("negatives", negatives, batch, present.shape[1], dim)


def _require_groups(query: Tensor, groups: Sequence[ContrastCandidates]) -> None:
    """Raises UsageError unless there are groups of candidates, each of all queries."""
    arguments.tensor("query", query, None, None)
    holds = isinstance(groups, list | tuple) and bool(groups)
    arguments.require("groups", groups, "a list of `ContrastCandidates`", holds=holds)
    for group in groups:
        arguments.instance("groups", group, ContrastCandidates)
        arguments.tensor("excluded", group.excluded, len(query), None, flags=True)
        rows = group.excluded.shape[1 if group.vectors.ndim == 2 else 0 :]
        arguments.tensor("vectors", group.vectors, *rows, query.shape[1])


def _require_weights(query: Tensor, weights: Tensor | None) -> None:
    """Raises UsageError unless there is a weight for each query, or none at all."""
    if weights is not None:
        arguments.tensor("weights", weights, len(query))


def _similarities(
    query: Float[Tensor, "batch dim"], group: ContrastCandidates
) -> Float[Tensor, "batch candidates"]:
    if group.vectors.ndim == 2:
        return query @ group.vectors.T
    return torch.einsum("bd,bnd->bn", query, group.vectors)


def _positives(group: ContrastCandidates) -> Bool[Tensor, "batch candidates"]:
    if group.positive is None:
        return torch.zeros_like(group.excluded)
    return group.positive
