"""What a run minimises: a weighted sum of terms over the vectors of one batch."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cir.models.losses import Columns, Term, contrastive_loss, triplet_loss
from cir.training.candidates import Negatives
from cir.types import LossTerm, OtherTargets, TripletForm, TripletReduction

COLDEST: Final = 0.01
"""The least temperature that is learned, as in CLIP (Radford et al., ICML 2021, section 2.5)."""


@dataclass(frozen=True)
class TripletTerm:
    """max(0, m + d(q, t) - d(q, c)) over a query's negatives, or its softened form."""

    weight: float
    margin: float
    form: TripletForm
    reduction: TripletReduction


@dataclass(frozen=True)
class ContrastiveTerm:
    """Cross entropy of a query's target among its candidates."""

    weight: float
    temperature: float
    learned: bool
    """Whether the temperature is a weight like others."""
    mined: bool
    """Whether a query's negatives are candidates."""
    bank: bool
    """Whether all training targets are."""
    reference: bool
    """Whether its own reference is."""
    other_targets: OtherTargets

    @property
    def positive(self) -> bool:
        """Whether all known targets of a query are positives."""
        return self.other_targets == "positive"


class Objective(nn.Module):
    """The terms that are trained, and the temperature where it is learned."""

    def __init__(self, triplet: TripletTerm | None, contrastive: ContrastiveTerm | None) -> None:
        """Either term may be left out, not both."""
        super().__init__()
        self.triplet, self.contrastive = triplet, contrastive
        self._log_scale: nn.Parameter | None = None
        if contrastive is not None and contrastive.learned:
            scale = torch.tensor(-math.log(contrastive.temperature))
            self._log_scale = nn.Parameter(scale)

    @property
    def negatives(self) -> bool:
        """Whether any term needs a query's negatives."""
        mined = self.contrastive is not None and self.contrastive.mined
        return mined or self.triplet is not None

    @property
    def temperature(self) -> float | Float[Tensor, ""]:
        """Of the contrastive term, where it is trained."""
        if self.contrastive is None:
            return math.nan
        if self._log_scale is None:
            return self.contrastive.temperature
        return (-self._log_scale).exp()

    def bound(self) -> None:
        """Takes a temperature that an update led too far back to the coldest."""
        if self._log_scale is not None:
            with torch.no_grad():
                self._log_scale.clamp_(max=-math.log(COLDEST))

    def forward(
        self,
        query: Float[Tensor, "batch dim"],
        target: Float[Tensor, "batch dim"],
        negatives: Negatives | None,
        columns: list[Columns],
    ) -> dict[LossTerm, tuple[float, Term]]:
        """The weight and the value of each term.

        Args:
            query: Composed queries, unit vectors.
            target: Their targets, unit vectors.
            negatives: Their negatives, unit vectors, where a term needs them.
            columns: Candidates of the contrastive term, beside the negatives.
        """
        terms: dict[LossTerm, tuple[float, Term]] = {}
        if self.triplet is not None and negatives is not None:
            triplets = triplet_loss(
                query,
                target,
                negatives.vectors,
                negatives.present,
                self.triplet.margin,
                self.triplet.form,
                self.triplet.reduction,
            )
            terms["triplet"] = self.triplet.weight, triplets
        if self.contrastive is not None:
            if self.contrastive.mined and negatives is not None:
                columns = [*columns, Columns(negatives.vectors, ~negatives.present)]
            contrasted = contrastive_loss(query, columns, self.temperature)
            terms["contrastive"] = self.contrastive.weight, contrasted
        return terms
