"""The checkpoints of a run: how they are saved, and how a run is resumed from the last one.

A checkpoint holds the weights, the optimiser's state, and a `ResumeState`. It holds no state of a
random generator, for the draws of a step depend on the seed, the epoch and the step alone
(`cir.training.epoch`). A resumed run makes the steps that are left as one that was never
interrupted.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from cir import __version__
from cir.artefacts.checkpoint import (
    SCHEMA_VERSION,
    CheckpointMetadata,
    read_checkpoint,
    read_trainer,
    save_checkpoint,
)
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import TrainConfig
from cir.errors import CheckpointError
from cir.machine.processes import Processes
from cir.names import LAST
from cir.training import run_folder
from cir.training.epoch import EpochProgress, Means
from cir.training.metrics_log import EpochMetrics
from cir.training.model import Model
from cir.training.step import Learner
from cir.training.trackers import updates_made

_RESUME_KEY: Final = "standing"
"""Key of a checkpoint's trainer state for the `ResumeState`, as saved since the first version."""


@dataclass(frozen=True)
class ResumeState:
    """How far a run has come: to the end of an epoch, or to a step of the next one."""

    epoch: int
    """Finished epochs."""
    seconds: Mapping[str, Any]
    """The result of `Clock.seconds`."""
    metrics: EpochMetrics | None = None
    """Of the epoch that has ended, without its mining; None within the next one."""
    progress: EpochProgress | None = None
    """How far the next epoch has come; None at the end of one."""
    images: VectorTable | None = None
    """The vectors of images that the next epoch began with, where its steps use them and the model
    that gave them has changed since."""

    def to_state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        metrics, progress, images = self.metrics, self.progress, self.images
        return {
            "epoch": self.epoch,
            "took": dict(self.seconds),
            "metrics": metrics and metrics.to_json(),
            "reached": progress and (progress.step, progress.means.queries, progress.means.sums),
            "gallery": images and (images.keys, torch.from_numpy(images.vectors)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ResumeState":
        """Reads the result of `to_state`."""
        progress = images = None
        if state["reached"]:
            step, queries, sums = state["reached"]
            progress = EpochProgress(step, Means(queries, sums))
        if state["gallery"]:
            keys, vectors = state["gallery"]
            images = VectorTable(keys, vectors.numpy())
        metrics = state["metrics"] and EpochMetrics.from_json(state["metrics"])
        return cls(state["epoch"], state["took"], metrics, progress, images)


class Checkpoints:
    """Saves the checkpoints of one run, and restores the last."""

    def __init__(
        self,
        config: TrainConfig,
        embeddings: Embeddings,
        model: Model,
        learner: Learner,
        processes: Processes,
    ) -> None:
        """Writes nothing yet.

        Args:
            config: The configuration of the run.
            embeddings: The store that it trains on.
            model: Its weights are saved as they are at the moment.
            learner: Its optimiser and its moving average.
            processes: Of which the main one alone reads and writes.
        """
        self._config = config
        self._store = embeddings
        self._model = model
        self._learner = learner
        self._processes = processes
        self._saved_at = time.monotonic()
        self._last_sha256 = ""

    @property
    def is_due(self) -> bool:
        """Whether `save_minutes` have passed since `last` was saved."""
        return time.monotonic() - self._saved_at >= 60 * self._config.save_minutes

    def save(self, name: str, state: ResumeState) -> None:
        """Replaces the checkpoint called `name`.

        Raises:
            CirError: it cannot be written; the one before stays.
        """
        if self._processes.main:
            sha256 = self._write(name, state)
            self._last_sha256 = sha256 if name == LAST else self._last_sha256
        if name == LAST:
            self._saved_at = time.monotonic()

    def restore(self) -> tuple[ResumeState, int]:
        """Loads `last`; how far the run has come, and how many updates it has made.

        Raises:
            CheckpointError: it is damaged, does not fit, or is of another store.
        """
        last = run_folder.checkpoint(self._config.out, LAST)
        saved, trainer = self._processes.broadcast_from_main(
            lambda: (read_checkpoint(last), read_trainer(last))
        )
        if saved.metadata.embeddings_sha256 != self._store.sha256:
            raise CheckpointError(
                f"{last} was trained on a store with another SHA-256 than {self._store.path}: "
                f"pass the store of the run, or train again with `overwrite=True`"
            )
        if _RESUME_KEY not in trainer:
            raise CheckpointError(
                f"{last} was saved by cir {saved.metadata.cir_version}, which resumes otherwise: "
                f"train again with `overwrite=True`"
            )
        self._model.load(saved)
        if self._config.encode_batch is None:
            self._model.encode_batch = saved.metadata.config.get("encode_batch")
        self._learner.load_state(trainer)
        self._last_sha256 = saved.sha256
        return ResumeState.from_state(trainer[_RESUME_KEY]), updates_made(trainer["optimiser"])

    def last_sha256(self) -> str:
        """Identifies the weights of `last`, in every process."""
        return self._processes.broadcast_from_main(lambda: self._last_sha256)

    def _write(self, name: str, state: ResumeState) -> str:
        """Writes a checkpoint; what identifies its weights."""
        config, metrics, combiner = self._config, state.metrics, self._model.combiner
        return save_checkpoint(
            run_folder.checkpoint(config.out, name),
            combiner=combiner.state_dict(),
            clip=self._model.clip_state(),
            trainer={**self._learner.state(), _RESUME_KEY: state.to_state()},
            metadata=CheckpointMetadata(
                schema_version=SCHEMA_VERSION,
                cir_version=__version__,
                combiner=config.combiner,
                dim=self._store.provenance.embed_dim,
                hidden=getattr(combiner, "hidden", None),
                projection=getattr(combiner, "projection", None),
                tune=self._model.tune,
                epoch=state.epoch,
                step=state.progress.step if state.progress else 0,
                provenance=self._store.provenance,
                embeddings_sha256=self._store.sha256,
                dev=dict(metrics.dev) if metrics else {},
                config=config.to_json() | {"encode_batch": self._model.encode_batch},
            ),
        )
