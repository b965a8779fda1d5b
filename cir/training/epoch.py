"""One epoch: the steps over every batch, and the means of what they lost."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from cir.errors import TrainingError
from cir.processes import ALONE, Processes
from cir.progress import SILENT, Progress
from cir.runtime import seed_all
from cir.training.batches import Batch
from cir.training.features import Features
from cir.training.step import Learner, StepLosses
from cir.training.candidates import Sources
from cir.training.metrics_log import EpochLosses
from cir.training.towers import Tower

StepListener = Callable[[Mapping[str, Any]], None]
"""Told of every step: its losses, the learning rate, the length of its gradient."""


@dataclass(frozen=True)
class Place:
    """Which epoch of how many, in a run of which seed."""

    epoch: int
    epochs: int
    seed: int = 0

    def done(self, step: int, steps: int) -> float:
        """Share of the run that is done after `step` of the epoch's `steps`."""
        return (self.epoch - 1 + step / steps) / self.epochs


class Means:
    """Means over an epoch in which each query counts the same; sums that can be gone on with."""

    def __init__(self, queries: int = 0, sums: Mapping[str, float] | None = None) -> None:
        """Begins at nothing, or where another one had got to."""
        self.queries = queries
        self.sums = dict(sums or {})

    def add(self, losses: StepLosses, queries: int) -> None:
        """Counts one step's losses for each of its queries."""
        self.queries += queries
        for name, value in vars(losses).items():
            if value is not None:
                self.sums[name] = self.sums.get(name, 0.0) + queries * value.item()

    def of_epoch(self, learning_rate: float) -> EpochLosses:
        """The means so far."""
        means = {name: total / self.queries for name, total in self.sums.items()}
        return EpochLosses(
            loss=means["total"],
            triplet=means.get("triplet"),
            contrastive=means.get("contrastive"),
            active_share=means.get("active_share"),
            temperature=means.get("temperature"),
            learning_rate=learning_rate,
        )


@dataclass(frozen=True)
class EpochProgress:
    """How far an epoch has come."""

    step: int
    """Steps that are made."""
    means: Means
    """Over them."""


BetweenSteps = Callable[[EpochProgress], None]
"""Called with what was reached before each update, once the loss of the next step has shown the
weights to be sound, and after the last update of the epoch."""


def train_epoch(
    learner: Learner,
    sources: Sources,
    batches: Sequence[Batch],
    *,
    images: Tower,
    texts: Tower,
    place: Place,
    reached: EpochProgress | None = None,
    decodes: bool = False,
    on_step: StepListener = lambda figures: None,
    between: BetweenSteps = lambda reached: None,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
) -> EpochLosses:
    """Takes a step for every batch that is left.

    What a step draws at random depends on the seed, the epoch and the step alone.

    Args:
        learner: What is updated.
        sources: What the batches were drawn from, and what they are trained against.
        batches: The epoch, drawn, and whole.
        images: Gives the features of images.
        texts: Gives the features of texts.
        place: Decides the learning rate, and what is drawn.
        reached: How far the epoch has come already; None begins it.
        decodes: Whether each image of a batch is decoded for it; only told.
        on_step: Told of every step.
        between: May save what was reached, or stop the epoch by raising.
        progress: Shows queries and decoded images per second, the loss and the learning rate.
        processes: Those that take a part of every batch each.

    Raises:
        TrainingError: a loss or its gradient is not finite; the weights are those before.
    """
    learner.combiner.train()
    start, means = (reached.step, reached.means) if reached else (0, Means())
    left, rows = batches[start:], sources.rows
    label = f"epoch {place.epoch}/{place.epochs}"
    with (
        progress.task(label, sum(map(len, left)), "queries") as task,
        closing(_encoded(left, images, texts, processes)) as encoded,
    ):
        for step, (batch, features) in enumerate(zip(left, encoded, strict=True), start + 1):
            where = f"epoch {place.epoch}, step {step}"
            ids = [rows.query_ids[row] for row in batch.queries]
            seed_all(place.seed, place.epoch, step)
            losses = learner.losses(batch, sources, *features)
            _require_finite("loss", losses.total, where, ids)
            between(EpochProgress(step - 1, means))
            gradient = learner.backward(losses, features)
            if not learner.scaled:
                _require_finite("gradient", gradient, where, ids)
            rate = learner.update(place.done(step, len(batches)))
            means.add(losses, len(batch))
            on_step({**vars(losses), "learning_rate": rate, "gradient": gradient})
            if decodes:
                task.tally(images=len(np.unique(batch.images)))
            task.advance(len(batch), loss=losses.total.item(), lr=rate)
    between(EpochProgress(len(batches), means))
    return means.of_epoch(learner.learning_rate(place.done(1, 1)))


def _encoded(
    batches: Sequence[Batch], images: Tower, texts: Tower, processes: Processes
) -> Generator[tuple[Features, Features], None, None]:
    """The features of this process's part of each batch; a fault in one process ends all."""
    parts = [batch.part(processes.part(len(batch))) for batch in batches]
    steps = zip(
        images.steps([part.images for part in parts]),
        texts.steps([part.text for part in parts]),
        strict=True,
    )
    for _ in parts:
        with processes.fail_together():
            features = next(steps)
        yield features


def _require_finite(name: str, figure: Tensor, where: str, ids: Sequence[str]) -> None:
    value = figure.item()
    if not math.isfinite(value):
        raise TrainingError(
            f"the {name} is {value} at {where}: try a smaller --learning-rate, or fp32; the last "
            f"checkpoint is untouched; the batch was {', '.join(ids)}"
        )
