"""The folder of a training run: its files, and whether a run may be made or resumed in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

from cir.config import Tune
from cir.disk.files import folder_written_aside, sweep
from cir.disk.recognition import is_marked, write_marker
from cir.errors import CheckpointError, ConfigError, UsageError
from cir.names import (
    BEST,
    CHECKPOINTS,
    LAST,
    MANIFESTS,
    METRICS_FILE,
    REPORT_FILE,
    RUN_FILE,
    RUN_NAMES,
    TIMES_FILE,
)
from cir.run_settings import INPUTS, read_settings, same_place, write_settings

_CHANGEABLE: Final = (
    *(
        "out",
        "resume",
        "overwrite",
        "save_minutes",
        "device",
        "workers",
        "encode_batch",
        "checkpoint_activations",
        "tracker",
        "log_every",
        "stale_ok",
    ),
)
"""Settings that a resumed run may change: where it lies, what it runs on, how it is watched."""
_OF_TOWERS: Final = ("clip_learning_rate", "weights")
"""Of a run that tunes no tower they say nothing; older versions recorded them all the same."""


def manifest_file(run: Path, epoch: int) -> Path:
    """Where the manifest mined after `epoch` is; 0 is the one that the run was given."""
    return run / MANIFESTS / f"epoch-{epoch:03d}.parquet"


def manifest_files(run: Path) -> list[Path]:
    """The manifests of a run, the first epoch's first; files of other names are none."""
    found = (run / MANIFESTS).glob("epoch-*.parquet")
    by_epoch = {file.stem.removeprefix("epoch-"): file for file in found}
    return [by_epoch[epoch] for epoch in sorted(filter(str.isdecimal, by_epoch), key=int)]


def latest_manifest(run: Path, epoch: int) -> Path | None:
    """The manifest mined last, after `epoch` or before; None where there is none."""
    files = (manifest_file(run, number) for number in range(epoch, -1, -1))
    return next((file for file in files if file.is_file()), None)


def checkpoint(run: Path, name: str) -> Path:
    """Where the checkpoint called `name` is."""
    return run / CHECKPOINTS / name


def make(run: Path, settings: Mapping[str, Any]) -> None:
    """Makes the run folder, which holds its configuration, in the place of any that is there.

    Raises:
        UsageError: what is there is no run of cir.
        CirError: it cannot be written; what is there stays.
    """
    with folder_written_aside(run, "run", RUN_NAMES) as aside:
        write_settings(aside, settings)


def make_ready(run: Path) -> bool:
    """Removes what a killed run was writing; whether there is a checkpoint to resume from.

    Raises:
        CheckpointError: there is none, though the run has saved one before.
    """
    files = (RUN_FILE, METRICS_FILE, TIMES_FILE, REPORT_FILE)
    manifests = (run / MANIFESTS).glob(".epoch-*.cir-*.parquet")
    begun = {file.name.removeprefix(".").rpartition(".cir-")[0] for file in manifests}
    swept = {run / MANIFESTS / f"{name}.parquet" for name in begun}
    for path in (checkpoint(run, LAST), checkpoint(run, BEST), *map(run.joinpath, files), *swept):
        sweep(path)
    if not is_marked(run):
        write_marker(run, "run", RUN_NAMES)
    last = checkpoint(run, LAST)
    if not last.exists():
        _require_nothing_saved(run)
    return last.exists()


def _require_nothing_saved(run: Path) -> None:
    saved = [path for path in (checkpoint(run, BEST), run / METRICS_FILE) if path.exists()]
    if saved:
        raise CheckpointError(
            f"{checkpoint(run, LAST)} is missing, though {saved[0]} is there, so the run in {run} "
            f"cannot be gone on with: put it back, or train another with another `out`"
        )


def require_same_settings(run: Path, settings: Mapping[str, Any]) -> None:
    """Checks that a run may be resumed, and changes nothing.

    Args:
        run: The run folder.
        settings: The configuration to resume it with, as JSON values.

    Raises:
        UsageError: there is no run.
        ConfigError: the run was started with other settings; each is named.
    """
    if not (run / RUN_FILE).is_file():
        raise UsageError(f"no run to resume in {run}: it holds no {RUN_FILE}; leave out `resume`")
    of_run = read_settings(run)
    if not of_run:
        raise CheckpointError(f"{run / RUN_FILE} is damaged: it holds no settings of a run")
    names = [name for name in settings if name not in _CHANGEABLE]
    faults = [
        f"`{name}` is {settings[name]}, the run in {run} has {of_run.get(name)}"
        for name in names
        if not _same(run, of_run, settings, name)
    ]
    if faults:
        raise ConfigError([*faults, "a run is resumed with its own settings"])


def towers(run: Path) -> Tune | None:
    """The towers that a run tunes, as it recorded them; None where there is no run.

    Raises:
        CheckpointError: what it recorded is damaged.
    """
    if not (run / RUN_FILE).is_file():
        return None
    recorded = read_settings(run).get("tune")
    if recorded not in get_args(Tune):
        raise CheckpointError(
            f"{run / RUN_FILE} is damaged: its tune is {recorded!r}; expected one of "
            f"{', '.join(get_args(Tune))}"
        )
    return cast("Tune", recorded)


def _same(run: Path, of_run: Mapping[str, Any], settings: Mapping[str, Any], name: str) -> bool:
    """Whether a setting is the run's: of an input, whether it is the same file or folder."""
    if of_run.get(name) == settings[name]:
        return True
    if name in _OF_TOWERS and of_run.get("tune") == settings["tune"] == "none":
        return True
    return name in INPUTS and same_place(run, of_run, name, settings[name])
