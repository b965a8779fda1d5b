"""One pass over the batches of an epoch: the steps, and the means of their losses."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from cir.errors import TrainingError, some_of
from cir.machine.processes import Processes
from cir.machine.runtime import seed_all
from cir.progress import SILENT, Progress, Task
from cir.training.batches import Batch
from cir.training.candidates import CandidateSources
from cir.training.features import Features, Towers
from cir.training.metrics_log import EpochLosses
from cir.training.step import Learner

StepListener = Callable[[Mapping[str, Any]], None]
"""Called after every step with its losses, its learning rate and the length of its gradient."""


@dataclass(frozen=True)
class StepPosition:
    """Where the steps of an epoch are in the run; decides learning rates and random draws."""

    epoch: int
    """The first is 1."""
    epochs: int
    """Of the run."""
    seed: int = 0
    """Of the run."""

    def share_done(self, step: int, steps: int) -> float:
        """Share of the run that is done after `step` of the epoch's `steps`."""
        return (self.epoch - 1 + step / steps) / self.epochs


class Means:
    """Means over an epoch in which each query counts the same, as sums that can go on later."""

    def __init__(self, queries: int = 0, sums: Mapping[str, float] | None = None) -> None:
        """Begins at nothing, or where another one ended."""
        self.queries = queries
        self.sums = dict(sums or {})

    def add(self, figures: Mapping[str, float], queries: int) -> None:
        """Counts one step's figures for each of its queries."""
        self.queries += queries
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + queries * value

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
    """Over these steps."""


BetweenSteps = Callable[[EpochProgress], None]
"""Called before each update, once loss and gradient have shown that the weights are sound, and
after the last update of the epoch. It may save, or end the epoch by raising."""


def train_epoch(
    learner: Learner,
    towers: Towers,
    sources: CandidateSources,
    batches: Sequence[Batch],
    position: StepPosition,
    *,
    resumed: EpochProgress | None = None,
    on_step: StepListener = lambda figures: None,
    between_steps: BetweenSteps = lambda progress: None,
    progress: Progress = SILENT,
) -> EpochLosses:
    """Takes a step for every batch that is left.

    The random draws of a step depend on the seed, the epoch and the step alone.

    Args:
        learner: The weights, and how they are updated.
        towers: Give the features of images and texts.
        sources: The rows that the batches were drawn from, and the candidates of their queries.
        batches: All batches of the epoch.
        position: Decides the learning rate and the random draws.
        resumed: How far the epoch has come already; None begins it.
        on_step: Called after every step.
        between_steps: Called before every update and at the end.
        progress: Shows queries and decoded images per second, the loss and the learning rate.

    Raises:
        TrainingError: a loss or its gradient is not finite; the weights are those before.
    """
    learner.combiner.train()
    done, means = (resumed.step, resumed.means) if resumed else (0, Means())
    left = batches[done:]
    label = f"epoch {position.epoch}/{position.epochs}"
    with (
        progress.task(label, sum(map(len, left)), "queries") as task,
        closing(_encoded(left, towers, learner.processes)) as encoded,
    ):
        for step, (batch, features) in enumerate(zip(left, encoded, strict=True), done + 1):
            seed_all(position.seed, position.epoch, step)
            losses = learner.losses(batch, sources, *features)
            figures = losses.figures(learner.backward(losses, features))
            where = f"epoch {position.epoch}, step {step}"
            ids = [sources.rows.query_ids[row] for row in batch.queries]
            _require_finite("loss", figures["total"], where, ids)
            if not learner.scales_gradients:
                _require_finite("gradient", figures["gradient"], where, ids)
            between_steps(EpochProgress(step - 1, means))
            rate = learner.update(position.share_done(step, len(batches)))
            means.add(figures, len(batch))
            on_step({**figures, "learning_rate": rate})
            _show(task, batch, figures["total"], rate, decoded=towers.decodes_images)
    between_steps(EpochProgress(len(batches), means))
    return means.of_epoch(learner.learning_rate(position.share_done(1, 1)))


def _encoded(
    batches: Sequence[Batch], towers: Towers, processes: Processes
) -> Generator[tuple[Features, Features], None, None]:
    """The features of this process's part of each batch; a fault in one process ends all."""
    parts = [batch.part(processes.part(len(batch))) for batch in batches]
    steps = zip(
        towers.images.steps([part.images for part in parts]),
        towers.texts.steps([part.text for part in parts]),
        strict=True,
    )
    for _ in parts:
        with processes.fail_together():
            features = next(steps)
        yield features


def _show(task: Task, batch: Batch, loss: float, rate: float, *, decoded: bool) -> None:
    """Moves the progress of the epoch on by a batch."""
    if decoded:
        task.tally(images=len(np.unique(batch.images)))
    task.advance(len(batch), loss=loss, lr=rate)


def _require_finite(name: str, value: float, where: str, ids: Sequence[str]) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"the {name} is {value} at {where}: try a smaller `learning_rate`, or "
            f"`precision='fp32'`; the last checkpoint is untouched; the batch was {some_of(ids)}"
        )
