"""A finished run, read back from its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cir.artefacts.manifest import Manifest, read_manifest
from cir.errors import CheckpointError
from cir.files import read_json
from cir.models.trained import Trained, load_trained
from cir.training.runfolder import CONFIG_FILE, MANIFESTS
from cir.training.runlog import RunLog


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run folder holds."""

    config: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    first: Manifest
    last: Manifest
    trained: Trained

    @property
    def plain_sum(self) -> Mapping[str, float]:
        """The plain sum's figures on the dev split."""
        figures: Mapping[str, float] = self.epochs[0]["sum"]
        return figures

    @property
    def best(self) -> Mapping[str, float]:
        """The best epoch's figures on the dev split."""
        figures: Mapping[str, float] = self.epochs[self.best_epoch]["dev"]
        return figures

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept as best."""
        return self.trained.checkpoint.metadata.epoch


def read_run(run: Path) -> FinishedRun:
    """Reads what the report needs of a run folder.

    Raises:
        CheckpointError: the folder is no run, or no epoch of it is finished.
        ManifestError: a manifest is damaged.
    """
    lines = RunLog(run).lines
    manifests = sorted((run / MANIFESTS).glob("epoch-*.parquet"))
    if not lines or not manifests:
        raise CheckpointError(f"{run} holds no finished epoch: expected a run folder of cir train")
    return FinishedRun(
        config=read_json(run / CONFIG_FILE, CheckpointError),
        epochs=lines,
        first=read_manifest(manifests[0]),
        last=read_manifest(manifests[-1]),
        trained=load_trained(run),
    )


def mined_when(manifest: Manifest) -> str:
    """Which model a manifest was mined with."""
    epoch = manifest.metadata.epoch
    return f"after epoch {epoch}" if epoch else "before training"
