"""The loss that a run minimises: a weighted sum of terms over the vectors of one batch.

To add a term, name it in `cir.types.LossTerm`, write it in `cir.models.losses`, compute it in
`Objective.forward`, and report it: in `StepLosses`, `Means.of_epoch` and `EpochLosses`.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cir.config import COLDEST
from cir.models.losses import ContrastCandidates, Term, contrastive_loss, triplet_loss
from cir.training.candidates import Negatives
from cir.types import Candidates, LossTerm, OtherTargets, TripletForm, TripletReduction


class Objective(nn.Module):
    """The terms that are trained, and the temperature where it is learned."""

    def __init__(
        self,
        weights: Mapping[LossTerm, float],
        *,
        margin: float,
        triplet_form: TripletForm,
        triplet_reduction: TripletReduction,
        candidates: Collection[Candidates],
        other_targets: OtherTargets,
        temperature: float,
        learn_temperature: bool,
        hardness: float = 0.0,
    ) -> None:
        """Sets up the terms that have a weight; the arguments of others mean nothing.

        Args:
            weights: The weight of each term that is trained, at least one.
            margin: Of the triplet term, in cosine distance.
            triplet_form: Of the triplet term, as in `triplet_loss`.
            triplet_reduction: Of the triplet term, as in `triplet_loss`.
            candidates: What the contrastive term tells a target apart from.
            other_targets: What a query's other known targets are in the contrastive term.
            temperature: Of the contrastive term, where it is learned its first value.
            learn_temperature: Whether the temperature is a parameter.
            hardness: Of the contrastive term, as in `contrastive_loss`.
        """
        super().__init__()
        self.weights = dict(weights)
        self.candidates = frozenset(candidates if "contrastive" in weights else ())
        self.positive = other_targets == "positive"
        """Whether all known targets of a query are positives of the contrastive term."""
        self._triplet = margin, triplet_form, triplet_reduction
        self._temperature = temperature
        self._hardness = hardness
        self._log_scale: nn.Parameter | None = None
        if "contrastive" in weights and learn_temperature:
            self._log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def contrasts(self) -> bool:
        """Whether the contrastive term is trained."""
        return "contrastive" in self.weights

    @property
    def needs_negatives(self) -> bool:
        """Whether any term uses a query's own negatives."""
        return "triplet" in self.weights or "mined" in self.candidates

    @property
    def temperature(self) -> float | Float[Tensor, ""]:
        """Of the contrastive term, where it is trained."""
        return self._temperature if self._log_scale is None else (-self._log_scale).exp()

    def clamp_temperature(self) -> None:
        """Brings a temperature that an update took below the coldest back to it."""
        if self._log_scale is not None:
            with torch.no_grad():
                self._log_scale.clamp_(max=-math.log(COLDEST))

    def forward(
        self,
        query: Float[Tensor, "batch dim"],
        target: Float[Tensor, "batch dim"],
        negatives: Negatives | None,
        candidates: Sequence[ContrastCandidates],
        weights: Float[Tensor, " batch"] | None = None,
    ) -> dict[LossTerm, Term]:
        """The value of each term, unweighted.

        Args:
            query: Composed queries, unit vectors.
            target: Their targets, unit vectors.
            negatives: Their negatives, unit vectors, where a term needs them.
            candidates: Candidates of the contrastive term, beside the negatives.
            weights: What each query counts; 1 if None.
        """
        terms: dict[LossTerm, Term] = {}
        if "triplet" in self.weights and negatives is not None:
            terms["triplet"] = triplet_loss(
                query, target, negatives.vectors, negatives.present, *self._triplet, weights
            )
        if self.contrasts:
            groups = list(candidates)
            if "mined" in self.candidates and negatives is not None:
                groups.append(negatives.candidates())
            terms["contrastive"] = contrastive_loss(
                query, groups, self.temperature, hardness=self._hardness, weights=weights
            )
        return terms
