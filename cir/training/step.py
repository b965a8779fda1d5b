"""One step of training: features to a composed query, a query to a loss, a loss to an update."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import Parameter, functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import AdamW

from cir.models.dropout import share_masks
from cir.models.losses import Columns, Term, Triplets
from cir.processes import ALONE, Processes
from cir.models.averaging import WeightAverage
from cir.training.batches import Batch
from cir.training.gathering import gathered, summed
from cir.models.layerwise import ParameterGroup
from cir.training.candidates import Negatives, Sources, reference_columns
from cir.training.objective import Objective
from cir.training.towers import Features
from cir.types import LossTerm, Schedule

_LONGEST_GRADIENT: Final = 1.0
"""Norm that gradients are clipped to."""
_WARM_UP: Final = 0.05
"""Share of the run over which the learning rate rises."""
_PEAK: Final = "peak"
"""An optimiser group's own key: its learning rate at the end of the warm-up."""


@dataclass(frozen=True)
class Optimisation:
    """AdamW's settings."""

    learning_rate: float
    clip_learning_rate: float
    weight_decay: float
    schedule: Schedule = "cosine"


@dataclass(frozen=True)
class StepLosses:
    """The losses of one step over its whole batch; what is not trained is None."""

    total: Float[Tensor, ""]
    """Carries the gradient of this process's share, which is the whole where it is alone."""
    triplet: Float[Tensor, ""] | None
    active_share: Float[Tensor, ""] | None
    """Share of the triplets that violate the margin."""
    contrastive: Float[Tensor, ""] | None
    temperature: Float[Tensor, ""] | None
    """Of the contrastive term, as it was in this step."""


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
        processes: Processes = ALONE,
    ) -> None:
        """Prepares the optimiser.

        Args:
            combiner: On the accelerator's device.
            clip_groups: Parameters of the tuned towers; none where no tower is tuned.
            objective: The loss, on the accelerator's device.
            optimisation: AdamW's settings.
            accelerator: Device, precision and the scaling of fp16's gradients.
            ema: Decay of the moving average of all that is trained; 0 averages nothing.
            processes: Those that take a part of every batch each.
        """
        self.combiner = combiner
        self.objective = objective
        self._accelerator = accelerator
        self._processes = processes
        rate = optimisation.learning_rate
        groups = [
            *_groups([*combiner.parameters(), *objective.parameters()], rate),
            *(
                group
                for layer in clip_groups
                for group in _groups(
                    layer.parameters, layer.scale * optimisation.clip_learning_rate
                )
            ),
        ]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        """All that is trained."""
        self._optimiser = accelerator.prepare(
            AdamW(groups, weight_decay=optimisation.weight_decay, fused=True)
        )
        self._peak, self._schedule = rate, optimisation.schedule
        self.average = WeightAverage(self.parameters, ema)

    @property
    def scaled(self) -> bool:
        """Whether gradients are scaled, as fp16's are: an update that is too long is left out."""
        return self._accelerator.scaler is not None

    def losses(
        self, whole: Batch, sources: Sources, images: Features, texts: Features
    ) -> StepLosses:
        """The losses of one batch, ready for `backward`.

        Args:
            whole: The rows of all processes.
            sources: Where their negatives and other candidates come from.
            images: Gives the features of the images of this process's part.
            texts: Gives the features of its texts.
        """
        share = self._processes.part(len(whole))
        own = whole.part(share)
        if self._processes.count > 1:
            share_masks(self.combiner, len(whole), share)
        with self._accelerator.autocast():
            query = self.combiner(images(own.reference), texts(own.text))
        target = functional.normalize(images(own.target), dim=-1)
        negatives = None
        if self.objective.negatives:
            found = sources.negatives(own, images, query.detach())
            negatives = Negatives(functional.normalize(found.vectors, dim=-1), found.present)
        columns = self._columns(target, own, whole, share.start, sources, images)
        return self._of_whole(self.objective(query, target, negatives, columns))

    def backward(self, losses: StepLosses, encoded: Sequence[Features]) -> Float[Tensor, ""]:
        """Prepares an update; returns the length of the gradient before it is clipped.

        Args:
            losses: Of `losses`.
            encoded: The features that they were computed from.
        """
        self._optimiser.zero_grad()
        self._accelerator.backward(losses.total)
        for features in encoded:
            features.backward()
        self._sum_gradients()
        length: Float[Tensor, ""] = self._accelerator.clip_grad_norm_(
            self.parameters, _LONGEST_GRADIENT
        )
        return length

    def update(self, done: float) -> float:
        """Moves the weights; returns the combiner's learning rate.

        Args:
            done: Share of the run's steps that are done, this one included.
        """
        factor = learning_rate_factor(done, self._schedule)
        for group in self._optimiser.param_groups:
            group["lr"] = factor * group[_PEAK]
        self._optimiser.step()
        self.objective.bound()
        self.average.update()
        return self.learning_rate(done)

    def learning_rate(self, done: float) -> float:
        """The combiner's learning rate once a share of the run's steps is done."""
        return learning_rate_factor(done, self._schedule) * self._peak

    def state(self) -> dict[str, Any]:
        """What the updates go on from: tensors and plain values."""
        scaler = self._accelerator.scaler
        return {
            "optimiser": self._optimiser.state_dict(),
            "objective": self.objective.state_dict(),
            "average": self.average.state(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave, once the weights saved beside it are loaded."""
        self._optimiser.load_state_dict(state["optimiser"])
        self.objective.load_state_dict(state["objective"])
        self.average.load_state(state["average"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def _columns(
        self,
        target: Tensor,
        own: Batch,
        whole: Batch,
        first: int,
        sources: Sources,
        images: Features,
    ) -> list[Columns]:
        """The candidates of the contrastive term, but for the negatives."""
        term = self.objective.contrastive
        if term is None:
            return []
        everyone = gathered(target, len(whole), self._processes)
        columns = [sources.batch_columns(everyone, own, whole, first, positive=term.positive)]
        if term.reference:
            reference = functional.normalize(images(own.reference), dim=-1)
            columns.append(reference_columns(reference, target, sources.duplicate_threshold))
        if sources.bank is not None:
            columns.append(
                sources.bank.columns(
                    sources.rows, own, whole, mined=term.mined, positive=term.positive
                )
            )
        return columns

    def _of_whole(self, terms: Mapping[LossTerm, tuple[float, Term]]) -> StepLosses:
        """Means over the whole batch; the total's gradient is that of this process's share."""
        values: dict[str, Tensor] = {}
        shares: list[Tensor] = []
        for name, (weight, term) in terms.items():
            count = summed(term.count, self._processes).clamp(min=1)
            shares.append(weight * term.summed / count)
            values[name] = summed(term.summed, self._processes) / count
            if isinstance(term, Triplets):
                values["active_share"] = summed(term.active, self._processes) / count
        share = torch.stack(shares).sum()
        return StepLosses(
            total=share + (summed(share, self._processes) - share.detach()),
            triplet=values.get("triplet"),
            active_share=values.get("active_share"),
            contrastive=values.get("contrastive"),
            temperature=self._temperature(share),
        )

    def _temperature(self, like: Tensor) -> Tensor | None:
        if self.objective.contrastive is None:
            return None
        return torch.as_tensor(self.objective.temperature).detach().to(like)

    def _sum_gradients(self) -> None:
        """Each process has the gradient of its share; that of the whole is their sum."""
        if self._processes.count == 1:
            return
        present = [p.grad for p in self.parameters if p.grad is not None]
        flat = summed(parameters_to_vector(present), self._processes)
        vector_to_parameters(flat, present)


def learning_rate_factor(done: float, schedule: Schedule = "cosine") -> float:
    """What the peak learning rate is multiplied by.

    cosine is a linear warm-up, then a cosine to zero: Loshchilov and Hutter, SGDR (ICLR 2017),
    equation 5, without restarts.

    Args:
        done: Share of the run's steps that are done, this one included, in [0, 1].
        schedule: cosine, or constant.
    """
    if schedule == "constant":
        return 1.0
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
