"""One update: features to composed queries, queries to a loss, the loss to new weights.

Of several processes, each takes a part of the batch. The targets of all are gathered, every term is
divided by the whole batch's count, and gradients are summed, so that the weights move as those of
one process would.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from cir.machine.processes import ALONE, Processes
from cir.machine.runtime import upload
from cir.models.dropout import share_masks
from cir.models.losses import ContrastCandidates, Term, Triplets
from cir.models.optim import (
    MAX_GRADIENT_NORM,
    WeightAverage,
    learning_rate_factor,
    set_learning_rates,
    trained_parameters,
)
from cir.training.batches import Batch
from cir.training.candidates import (
    CandidateSources,
    Negatives,
    batch_candidates,
    reference_candidates,
)
from cir.training.features import Features
from cir.training.gradients import SharedGradients
from cir.training.objective import Objective
from cir.types import LossTerm, Schedule


@dataclass(frozen=True)
class StepLosses:
    """The losses of one step over its whole batch; None for a term that is not trained."""

    total: Float[Tensor, ""]
    """Its gradient is that of this process's part of the batch."""
    triplet: Float[Tensor, ""] | None
    active_share: Float[Tensor, ""] | None
    """Share of the triplets that violate the margin."""
    contrastive: Float[Tensor, ""] | None
    temperature: Float[Tensor, ""] | None
    """Of the contrastive term, as it was in this step."""

    def figures(self, gradient: Float[Tensor, ""]) -> dict[str, float]:
        """The losses and the length of the gradient as numbers, by name, read in one go.

        Reading a tensor waits for all that its device has been given: once a step is enough.
        """
        read = {name: value for name, value in vars(self).items() if value is not None}
        read["gradient"] = gradient
        values = torch.stack([value.detach().float() for value in read.values()]).cpu()
        return dict(zip(read, values.tolist(), strict=True))


class Learner:
    """A combiner and the tuned towers, if any, with the optimiser that updates them.

    A step is `losses`, then `backward`, then `update`.
    """

    def __init__(
        self,
        combiner: nn.Module,
        objective: Objective,
        optimiser: AdamW,
        accelerator: Accelerator,
        *,
        learning_rate: float,
        schedule: Schedule = "cosine",
        ema: float = 0.0,
        processes: Processes = ALONE,
        forward_order: Sequence[nn.Parameter] = (),
    ) -> None:
        """Prepares the optimiser.

        Args:
            combiner: On the accelerator's device.
            objective: The loss, on the accelerator's device.
            optimiser: Of `build_optimiser`, over the parameters of the combiner, the objective and
                the tuned towers.
            accelerator: Device, precision and the scaling of fp16's gradients.
            learning_rate: The combiner's at its peak.
            schedule: How learning rates change over the run.
            ema: Decay of the moving average of all that is trained; 0 averages nothing.
            processes: Those that take a part of every batch each.
            forward_order: The optimiser's parameters in the order of the forward pass, which
                decides when several processes add up which; by default the optimiser's.
        """
        self.combiner = combiner
        self.objective = objective
        self.processes = processes
        self.parameters = trained_parameters(optimiser)
        self.average = WeightAverage(self.parameters, ema)
        self._gradients = SharedGradients(forward_order or self.parameters, processes)
        self._accelerator = accelerator
        self._optimiser = accelerator.prepare(optimiser)
        self._peak, self._schedule = learning_rate, schedule

    @property
    def scales_gradients(self) -> bool:
        """Whether gradients are scaled, as fp16's are; then infinite ones cause no update."""
        return self._accelerator.scaler is not None

    def losses(
        self, batch: Batch, sources: CandidateSources, images: Features, texts: Features
    ) -> StepLosses:
        """The losses of one batch, ready for `backward`.

        Args:
            batch: The rows of all processes.
            sources: Where negatives and other candidates come from.
            images: Gives the features of the images of this process's part.
            texts: Gives the features of its texts.
        """
        rows = self.processes.part(len(batch))
        part = batch.part(rows)
        if self.processes.count > 1:
            share_masks(self.combiner, len(batch), rows)
        with self._accelerator.autocast():
            query = self.combiner(images(part.reference), texts(part.text))
        target = functional.normalize(images(part.target), dim=-1)
        negatives = None
        if self.objective.needs_negatives:
            negatives = _guided(sources, part, sources.negatives(part, images, query.detach()))
        candidates = self._candidates(target, part, batch, sources, images, negatives)
        weights = None
        if sources.trust is not None:
            weights = upload(sources.trust[part.queries], target.device).to(target)
        terms = self.objective(query, target, negatives, candidates, weights)
        return self._over_whole_batch(terms)

    def backward(self, losses: StepLosses, encoded: Sequence[Features]) -> Float[Tensor, ""]:
        """Computes and clips the gradient; returns its norm before it is clipped.

        Args:
            losses: The result of the method `losses`.
            encoded: The features that the losses were computed from.
        """
        self._optimiser.zero_grad()
        with self._gradients.whole():
            self._accelerator.backward(losses.total)
        for features in reversed(encoded):
            features.backward(self._gradients.whole)
        self._gradients.add_up()
        norm: Float[Tensor, ""] = self._accelerator.clip_grad_norm_(
            self.parameters, MAX_GRADIENT_NORM
        )
        return norm

    def update(self, done: float) -> float:
        """Updates the weights; returns the combiner's learning rate.

        Args:
            done: Share of the run's steps that are done, this one included.
        """
        set_learning_rates(self._optimiser, learning_rate_factor(done, self._schedule))
        self._optimiser.step()
        self.objective.clamp_temperature()
        self.average.update()
        return self.learning_rate(done)

    def learning_rate(self, done: float) -> float:
        """The combiner's learning rate once a share of the run's steps is done."""
        return learning_rate_factor(done, self._schedule) * self._peak

    def state(self) -> dict[str, Any]:
        """The state that updates go on from, as tensors and plain values."""
        scaler = self._accelerator.scaler
        return {
            "optimiser": self._optimiser.state_dict(),
            "objective": self.objective.state_dict(),
            "average": self.average.state(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores the result of `state`, once the weights saved beside it are loaded."""
        self._optimiser.load_state_dict(state["optimiser"])
        self.objective.load_state_dict(state["objective"])
        self.average.load_state(state["average"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def _candidates(
        self,
        target: Tensor,
        part: Batch,
        batch: Batch,
        sources: CandidateSources,
        images: Features,
        negatives: Negatives | None,
    ) -> list[ContrastCandidates]:
        """The candidates of the contrastive term, without the negatives."""
        objective, rows = self.objective, sources.rows
        if not objective.contrasts:
            return []
        positive, first = objective.positive, self.processes.part(len(batch)).start
        targets = gathered(target, len(batch), self.processes)
        in_batch = batch_candidates(targets, rows, part, batch, first, positive=positive)
        groups = [_masked(sources, in_batch, part, batch.target)]
        if "reference" in objective.candidates:
            reference = functional.normalize(images(part.reference), dim=-1)
            groups.append(reference_candidates(reference, target, sources.duplicate_threshold))
        if sources.bank is not None:
            counted = negatives if "mined" in objective.candidates else None
            banked = sources.bank.candidates(
                rows, part, batch, negatives=counted, positive=positive
            )
            groups.append(_masked(sources, banked, part, sources.bank.images))
        return groups

    def _over_whole_batch(self, terms: Mapping[LossTerm, Term]) -> StepLosses:
        """Means over the whole batch; the total's gradient is that of this process's part."""
        means: dict[str, Tensor] = {}
        parts: list[Tensor] = []
        for name, term in terms.items():
            count = summed(term.count, self.processes).clamp(min=1)
            parts.append(self.objective.weights[name] * term.summed / count)
            means[name] = summed(term.summed, self.processes) / count
            if isinstance(term, Triplets):
                means["active_share"] = summed(term.active, self.processes) / count
        part = torch.stack(parts).sum()
        # The value is the sum over all processes; `part` alone has a gradient.
        return StepLosses(
            total=part + (summed(part, self.processes) - part.detach()),
            triplet=means.get("triplet"),
            active_share=means.get("active_share"),
            contrastive=means.get("contrastive"),
            temperature=self._temperature(part),
        )

    def _temperature(self, like: Tensor) -> Tensor | None:
        if not self.objective.contrasts:
            return None
        temperature = self.objective.temperature
        if isinstance(temperature, Tensor):
            return temperature.detach()
        return like.new_full((), temperature)


def _guided(sources: CandidateSources, part: Batch, raw: Negatives) -> Negatives:
    """Unit vectors of negatives, and which of them the guide leaves out."""
    guide = sources.guide
    return dataclasses.replace(
        raw,
        vectors=functional.normalize(raw.vectors, dim=-1),
        alike=None if guide is None else guide.alike(part.target, raw.images),
    )


def _masked(
    sources: CandidateSources,
    group: ContrastCandidates,
    part: Batch,
    images: Int64[np.ndarray, " candidates"],
) -> ContrastCandidates:
    """A group without what the guide leaves out."""
    return group if sources.guide is None else sources.guide.masked(group, part.target, images)


def gathered(part: Float[Tensor, "part dim"], total: int, processes: Processes) -> Tensor:
    """The rows of all processes, in the order of their parts; gradients flow back to each process.

    Args:
        part: This process's rows: `processes.part(total)` of them.
        total: Rows of all processes.
        processes: Those that hold a part each.
    """
    if processes.count == 1:
        return part
    whole: Tensor = _Gathered.apply(part, total, processes)
    return whole


def summed(tensor: Tensor, processes: Processes) -> Tensor:
    """The sum of a tensor over all processes, without gradients."""
    total = tensor.detach().clone()
    processes.begin_sum(total)()
    return total


class _Gathered(torch.autograd.Function):
    """Gathers rows by a sum, each process's own among zeros; gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, total: int, processes: Processes) -> Tensor:
        ctx.part, ctx.processes = processes.part(total), processes
        among_zeros = part.new_zeros(total, part.shape[1])
        among_zeros[ctx.part] = part
        return summed(among_zeros, processes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return summed(gradients[0], ctx.processes)[ctx.part], None, None
