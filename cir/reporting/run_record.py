"""A run, finished or not, read back from its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.manifest import Manifest
from cir.disk.files import read_json
from cir.errors import CheckpointError
from cir.models.composer import find_checkpoint
from cir.names import RUN_FILE
from cir.reporting.epoch_figures import EpochFigures, epoch_figures
from cir.reporting.mined_epochs import MinedEpochs, read_mined
from cir.training.metrics_log import RunLog
from cir.training.run_folder import manifest_files


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What a run folder holds of the epochs that are finished, of a run at its end or not."""

    config: Mapping[str, Any]
    epochs: Sequence[EpochFigures]
    plain_sum: Mapping[str, float]
    """The plain sum's figures on the dev split."""
    mined: MinedEpochs
    checkpoint: Checkpoint
    """The best."""
    at_plateau: bool = False
    """Whether its patience ended it before its last epoch."""

    @property
    def first(self) -> Manifest:
        """The manifest that training began with."""
        return self.mined.first

    @property
    def last(self) -> Manifest:
        """The manifest mined last."""
        return self.mined.last

    @property
    def best(self) -> Mapping[str, float]:
        """The best epoch's figures on the dev split."""
        return self.checkpoint.metadata.dev

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept as best."""
        return self.checkpoint.metadata.epoch

    @property
    def unfinished(self) -> str | None:
        """How many epochs are finished of a run that goes on or was stopped; None at its end."""
        done, planned = self.epochs[-1].epoch, self.config.get("epochs", 0)
        left = done < planned and not self.at_plateau
        return f"{done} of {planned} epochs so far" if left else None


def read_run(run: Path) -> RunRecord:
    """Reads what the report needs of a run folder.

    Raises:
        CheckpointError: the folder is no run, or no epoch of it is finished.
        ManifestError: a manifest is damaged.
    """
    log = RunLog(run)
    lines = log.lines
    manifests = manifest_files(run)
    if not lines or not manifests:
        raise CheckpointError(f"{run} holds no finished epoch: expected a run folder of cir train")
    config = read_json(run / RUN_FILE, CheckpointError)
    patience = config.get("patience")
    return RunRecord(
        config=config,
        epochs=[epoch_figures(line) for line in lines],
        plain_sum=lines[0]["sum"],
        mined=read_mined(manifests),
        checkpoint=find_checkpoint(run),
        at_plateau=patience is not None and log.is_at_plateau(patience),
    )


def mined_when(manifest: Manifest) -> str:
    """After which epoch a manifest was mined, in words."""
    epoch = manifest.metadata.epoch
    return f"after epoch {epoch}" if epoch else "before training"
