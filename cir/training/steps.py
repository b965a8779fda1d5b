"""One epoch: the steps over every batch, and the means of what they lost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cir.errors import TrainingError
from cir.progress import SILENT, Progress
from cir.training.batches import Batch
from cir.training.learner import Learner, StepLosses
from cir.training.negatives import Sources
from cir.training.runlog import EpochLosses
from cir.training.towers import Tower

StepListener = Callable[[Mapping[str, Any]], None]
"""Told of every step: its losses, the learning rate, the length of its gradient."""


@dataclass(frozen=True)
class Place:
    """Which epoch of how many."""

    epoch: int
    epochs: int

    def done(self, step: int, steps: int) -> float:
        """Share of the run that is done after `step` of the epoch's `steps`."""
        return (self.epoch - 1 + step / steps) / self.epochs


def train_epoch(
    learner: Learner,
    sources: Sources,
    batches: Sequence[Batch],
    *,
    images: Tower,
    texts: Tower,
    place: Place,
    decodes: bool = False,
    on_step: StepListener = lambda figures: None,
    progress: Progress = SILENT,
) -> EpochLosses:
    """Takes a step for every batch.

    Args:
        learner: What is updated.
        sources: What the batches were drawn from, and what they are trained against.
        batches: The epoch, drawn.
        images: Gives the features of images.
        texts: Gives the features of texts.
        place: Decides the learning rate.
        decodes: Whether each image of a batch is decoded for it; only told.
        on_step: Told of every step.
        progress: Shows queries and decoded images per second, the loss and the learning rate.

    Raises:
        TrainingError: a loss is not finite.
    """
    learner.combiner.train()
    steps = zip(
        batches,
        images.steps([batch.images for batch in batches]),
        texts.steps([batch.text for batch in batches]),
        strict=True,
    )
    means, rate, rows = _Means(), 0.0, sources.rows
    label = f"epoch {place.epoch}/{place.epochs}"
    with progress.task(label, len(rows), "queries") as task:
        for step, (batch, image, text) in enumerate(steps, start=1):
            ids = [rows.query_ids[row] for row in batch.queries]
            losses = learner.losses(batch, sources, image, text)
            _require_finite(losses, f"epoch {place.epoch}, step {step}", ids)
            rate = learner.descend(losses, (image, text), place.done(step, len(batches)))
            means.add(losses, len(batch))
            on_step({**vars(losses), "learning_rate": rate, "gradient": learner.gradient})
            if decodes:
                task.tally(images=len(np.unique(batch.images)))
            task.advance(len(batch), loss=losses.total.item(), lr=rate)
    return means.of_epoch(rate)


class _Means:
    """Means over an epoch in which each query counts the same."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._queries = 0

    def add(self, losses: StepLosses, queries: int) -> None:
        """Counts one step's losses for each of its queries."""
        self._queries += queries
        for name, value in vars(losses).items():
            if value is not None:
                self._sums[name] = self._sums.get(name, 0.0) + queries * value.item()

    def of_epoch(self, learning_rate: float) -> EpochLosses:
        """The means so far."""
        means = {name: total / self._queries for name, total in self._sums.items()}
        return EpochLosses(
            loss=means["total"],
            triplet=means.get("triplet"),
            contrastive=means.get("contrastive"),
            active_share=means.get("active_share"),
            temperature=means.get("temperature"),
            learning_rate=learning_rate,
        )


def _require_finite(losses: StepLosses, where: str, ids: Sequence[str]) -> None:
    loss = losses.total.item()
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at {where}: try a smaller --learning-rate, or fp32; the last "
            f"checkpoint is untouched; the batch was {', '.join(ids)}"
        )
