"""What a run is saved as, and taken up from: weights, the optimiser's state, and where it stands.

No generator's state is among it, for what a step draws depends on the seed, the epoch and the step
alone (`cir.training.epoch`). A run that goes on from a checkpoint makes the steps that are left as
one that was never interrupted.
"""

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
from cir.models.composer import LAST
from cir.processes import Processes
from cir.training import run_folder
from cir.training.step import Learner
from cir.training.model import Model
from cir.training.metrics_log import EpochMetrics
from cir.training.epoch import Means, EpochProgress
from cir.training.trackers import updates_made

_STANDING: Final = "standing"
"""Where a checkpoint's trainer state keeps what `ResumeState` holds."""


@dataclass(frozen=True)
class ResumeState:
    """Where a run stands: at the end of an epoch, or within the next one."""

    epoch: int
    """Finished epochs."""
    took: Mapping[str, Any]
    """What `Clock.seconds` showed."""
    metrics: EpochMetrics | None = None
    """Of the epoch that has ended, without what is mined after it; None within the next one."""
    reached: EpochProgress | None = None
    """How far the next epoch has come; None at the end of one."""
    gallery: VectorTable | None = None
    """The images' vectors as the next epoch began with them, where its steps use those and the
    model that gave them is gone."""

    def to_state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        metrics, reached, gallery = self.metrics, self.reached, self.gallery
        return {
            "epoch": self.epoch,
            "took": dict(self.took),
            "metrics": metrics and metrics.to_json(),
            "reached": reached and (reached.step, reached.means.queries, reached.means.sums),
            "gallery": gallery and (gallery.keys, torch.from_numpy(gallery.vectors)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ResumeState":
        """What `to_state` gave."""
        reached = gallery = None
        if state["reached"]:
            step, queries, sums = state["reached"]
            reached = EpochProgress(step, Means(queries, sums))
        if state["gallery"]:
            keys, vectors = state["gallery"]
            gallery = VectorTable(keys, vectors.numpy())
        metrics = state["metrics"] and EpochMetrics.from_json(state["metrics"])
        return cls(state["epoch"], state["took"], metrics, reached, gallery)


class Checkpoints:
    """The checkpoints of one run."""

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
            config: Of the run.
            embeddings: The store that it trains on.
            model: Whose weights are saved as they are at the moment.
            learner: Its optimiser and its average.
            processes: Of which the main one alone reads and writes.
        """
        self._config = config
        self._store = embeddings
        self._model = model
        self._learner = learner
        self._processes = processes

    def save(self, name: str, standing: ResumeState) -> None:
        """Puts a checkpoint in the place of the one called `name`.

        Raises:
            CirError: it cannot be written; the one before stays.
        """
        if not self._processes.main:
            return
        config, store, metrics = self._config, self._store, standing.metrics
        save_checkpoint(
            run_folder.checkpoint(config.out, name),
            combiner=self._model.combiner.state_dict(),
            clip=self._model.clip_state(),
            trainer={**self._learner.state(), _STANDING: standing.to_state()},
            metadata=CheckpointMetadata(
                schema_version=SCHEMA_VERSION,
                cir_version=__version__,
                combiner=config.combiner,
                dim=store.provenance.embed_dim,
                hidden=config.hidden,
                tune=config.tune,
                epoch=standing.epoch,
                step=standing.reached.step if standing.reached else 0,
                provenance=store.provenance,
                embeddings_sha256=store.sha256,
                dev=dict(metrics.dev) if metrics else {},
                config=config.to_json(),
            ),
        )

    def restore(self) -> tuple[ResumeState, int]:
        """Takes up `last`: where the run stands, and how many updates it has made.

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
                f"pass the store of the run, or train again with --overwrite"
            )
        if _STANDING not in trainer:
            raise CheckpointError(
                f"{last} was saved by cir {saved.metadata.cir_version}, which resumes otherwise: "
                f"train again with --overwrite"
            )
        self._model.load(saved)
        self._learner.load_state(trainer)
        return ResumeState.from_state(trainer[_STANDING]), updates_made(trainer["optimiser"])

    def last_sha256(self) -> str:
        """Identifies the weights of `last`."""
        last = run_folder.checkpoint(self._config.out, LAST)
        return self._processes.broadcast_from_main(lambda: read_checkpoint(last).sha256)
