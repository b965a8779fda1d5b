"""One step of training: features to a composed query, a query to a loss, a loss to an update."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import Parameter, functional
from torch.optim import AdamW

from cir.models.losses import contrastive_loss, triplet_loss
from cir.training.averaging import WeightAverage
from cir.training.batches import Batch
from cir.training.layerwise import ParameterGroup
from cir.training.negatives import NegativeSource
from cir.training.towers import Features

_LONGEST_GRADIENT: Final = 1.0
"""Norm that gradients are clipped to."""
_WARM_UP: Final = 0.05
"""Share of the run over which the learning rate rises."""
_PEAK: Final = "peak"
"""An optimiser group's own key: its learning rate at the end of the warm-up."""


@dataclass(frozen=True)
class Objective:
    """The loss: a triplet term over the negatives, a contrastive term over the batch, or both."""

    triplet: bool
    contrastive: bool
    margin: float
    contrastive_weight: float
    """Weight of the contrastive term beside the triplet term; alone it weighs one."""
    temperature: float


@dataclass(frozen=True)
class Optimisation:
    """AdamW's settings."""

    learning_rate: float
    clip_learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class StepLosses:
    """The losses of one step; a term that is not trained is None."""

    total: Float[Tensor, ""]
    triplet: Float[Tensor, ""] | None
    active_share: Float[Tensor, ""] | None
    contrastive: Float[Tensor, ""] | None


class Learner:
    """A combiner, and tuned towers if any, with what updates them."""

    def __init__(
        self,
        combiner: nn.Module,
        clip_groups: Sequence[ParameterGroup],
        objective: Objective,
        optimisation: Optimisation,
        accelerator: Accelerator,
        ema: float = 0.0,
    ) -> None:
        """Prepares the optimiser.

        Args:
            combiner: On the accelerator's device.
            clip_groups: Parameters of the tuned towers; none where no tower is tuned.
            objective: The loss.
            optimisation: AdamW's settings.
            accelerator: Device, precision and the scaling of fp16's gradients.
            ema: Decay of the moving average of all that is trained; 0 averages nothing.
        """
        self.combiner = combiner
        self._objective = objective
        self._accelerator = accelerator
        groups = [
            *_groups(list(combiner.parameters()), optimisation.learning_rate),
            *(
                grouped
                for layer in clip_groups
                for grouped in _groups(
                    layer.parameters, layer.scale * optimisation.clip_learning_rate
                )
            ),
        ]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._optimiser = accelerator.prepare(
            AdamW(groups, weight_decay=optimisation.weight_decay, fused=True)
        )
        self._peak = optimisation.learning_rate
        self.average = WeightAverage(self._parameters, ema)

    def losses(
        self,
        batch: Batch,
        images: Features,
        texts: Features,
        ignored: Bool[Tensor, "batch batch"],
        negatives: NegativeSource,
    ) -> StepLosses:
        """The losses of one batch, ready to be descended.

        Args:
            batch: The rows to gather.
            images: Gives the features of its images.
            texts: Gives the features of its texts.
            ignored: Targets of the batch that a query must not be pushed away from.
            negatives: Where the triplet term's negatives come from.
        """
        with self._accelerator.autocast():
            query = self.combiner(images(batch.reference), texts(batch.text))
        target = functional.normalize(images(batch.target), dim=-1)
        triplet = active_share = contrastive = None
        total = query.new_zeros(())
        if self._objective.triplet:
            against = negatives(batch, images, query.detach())
            others = functional.normalize(against.vectors, dim=-1)
            found = triplet_loss(query, target, others, against.present, self._objective.margin)
            triplet, active_share = found.loss, found.active_share
            total = total + triplet
        if self._objective.contrastive:
            contrastive = contrastive_loss(
                query, target, ignored.to(query.device), self._objective.temperature
            )
            weight = self._objective.contrastive_weight if self._objective.triplet else 1.0
            total = total + weight * contrastive
        return StepLosses(total, triplet, active_share, contrastive)

    def descend(self, losses: StepLosses, encoded: Sequence[Features], factor: float) -> float:
        """One update at `factor` of the peak learning rates; returns the combiner's rate.

        Args:
            losses: Of one batch.
            encoded: The features that they were computed from.
            factor: Of the schedule.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = factor * group[_PEAK]
        self._optimiser.zero_grad()
        self._accelerator.backward(losses.total)
        for features in encoded:
            features.backward()
        self._accelerator.clip_grad_norm_(self._parameters, _LONGEST_GRADIENT)
        self._optimiser.step()
        self.average.update()
        return factor * self._peak

    def state(self) -> dict[str, Any]:
        """What the updates go on from: tensors and plain values."""
        scaler = self._accelerator.scaler
        return {
            "optimiser": self._optimiser.state_dict(),
            "average": self.average.state(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave, once the weights saved beside it are loaded."""
        self._optimiser.load_state_dict(state["optimiser"])
        self.average.load_state(state["average"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])


def learning_rate_factor(done: float) -> float:
    """What the peak learning rate is multiplied by: a linear warm-up, then a cosine to zero.

    Loshchilov and Hutter, SGDR (ICLR 2017), equation 5, without restarts.

    Args:
        done: Share of the run's steps that are done, this one included, in [0, 1].
    """
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


def _groups(parameters: Sequence[Parameter], peak: float) -> Iterator[dict[str, Any]]:
    """Matrices decay; biases and the gains of norms, which are vectors, do not."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    yield from _group(matrices, {_PEAK: peak})
    yield from _group(vectors, {_PEAK: peak, "weight_decay": 0.0})


def _group(parameters: Iterable[Parameter], settings: dict[str, float]) -> Iterator[dict[str, Any]]:
    listed = list(parameters)
    if listed:
        yield {"params": listed, **settings}
