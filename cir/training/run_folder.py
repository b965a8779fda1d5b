"""The folder of a training run: its files, and whether a run may be made or resumed in it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cir.errors import CheckpointError, ConfigError, UsageError
from cir.files import read_json, refuse_existing, write_json
from cir.models.composer import CHECKPOINTS

CONFIG_FILE: Final = "config.json"
MANIFESTS: Final = "manifests"
REPORT_FILE: Final = "report.html"
TENSORBOARD: Final = "tensorboard"

_CHANGEABLE: Final = (
    *("out", "resume", "overwrite", "save_minutes", "device", "workers", "tracker", "log_every"),
)
"""Settings that a resumed run may change: where it lies, what it runs on, how it is watched."""


def manifest_file(run: Path, epoch: int) -> Path:
    """Where the manifest mined after `epoch` is; 0 is the one that the run was given."""
    return run / MANIFESTS / f"epoch-{epoch:03d}.parquet"


def latest_manifest(run: Path, epoch: int) -> Path | None:
    """The manifest mined last, after `epoch` or before; None where there is none."""
    files = (manifest_file(run, number) for number in range(epoch, -1, -1))
    return next((file for file in files if file.is_file()), None)


def checkpoint(run: Path, name: str) -> Path:
    """Where the checkpoint called `name` is."""
    return run / CHECKPOINTS / name


def require_usable(
    run: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> None:
    """Checks that a run may be made or resumed, and changes nothing.

    Args:
        run: The run folder.
        settings: The run's configuration as JSON values.
        resume: Whether to resume the run that is there.
        overwrite: Whether a run that is there is replaced.

    Raises:
        UsageError: the folder exists and is neither to be resumed nor replaced, or is no run.
        ConfigError: the run to resume was started with other settings; each is named.
    """
    if resume:
        _require_same_settings(run, settings)
        return
    refuse_existing(run, overwrite=overwrite)
    if run.exists() and not (run / CONFIG_FILE).is_file():
        raise UsageError(
            f"{run} holds no {CONFIG_FILE}, so it is no run and is not replaced: pass another `out`"
        )


def make(run: Path, settings: Mapping[str, Any]) -> None:
    """Makes the run folder in the place of any that is there; its configuration comes first."""
    if run.exists():
        shutil.rmtree(run)
    write_json(run / CONFIG_FILE, dict(settings))


def _require_same_settings(run: Path, settings: Mapping[str, Any]) -> None:
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(
            f"no run to resume in {run}: it holds no {CONFIG_FILE}; leave out `resume`"
        )
    of_run = read_json(run / CONFIG_FILE, CheckpointError)
    names = [name for name in settings if name not in _CHANGEABLE]
    faults = [
        f"`{name}` is {settings[name]}, the run in {run} has {of_run.get(name)}"
        for name in names
        if of_run.get(name) != settings[name]
    ]
    if faults:
        raise ConfigError([*faults, "a run is resumed with its own settings"])
