"""What a run was started with, and where the paths lead that it recorded.

A run records the paths of its inputs as they were typed. They are found from any folder, and also
where a run and its inputs were moved together.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cir.disk.files import read_json, write_json
from cir.errors import CheckpointError
from cir.names import CHECKPOINTS, RUN_FILE

INPUTS: Final = ("manifest", "dataset", "embeddings", "weights")
"""Settings that are paths of what a run reads."""
_OUT: Final = "out"
_STARTED_IN: Final = "started_in"
"""The working folder of the command that began the run; older versions did not record it."""


def write_settings(run: Path, settings: Mapping[str, Any]) -> None:
    """Writes what a run is started with into its folder.

    Args:
        run: The folder, which is written aside.
        settings: The configuration as JSON values.
    """
    write_json(run / RUN_FILE, {**settings, _STARTED_IN: str(Path.cwd())})


def read_settings(run: Path) -> dict[str, Any]:
    """What a run was started with; empty where its file holds something else.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    settings = read_json(run / RUN_FILE, CheckpointError)
    return settings if isinstance(settings, dict) else {}


def recorded_path(run: Path, settings: Mapping[str, Any], name: str) -> Path:
    """Where a path of a run's settings leads.

    A relative one is tried from the folder in which the run lies at its recorded `out`, then from
    the one that it was started in, then from the working folder. One that is nowhere stays as it
    was recorded.

    Args:
        run: The run folder.
        settings: What it was started with.
        name: The setting.
    """
    recorded = Path(settings[name])
    for base in _bases(run, settings):
        if (base / recorded).exists():
            return recorded if base == Path.cwd() else base / recorded
    return recorded


def inputs_of(run: Path) -> tuple[Path, Path] | None:
    """The dataset and the store that a run was trained over.

    Args:
        run: Run folder, or one of its checkpoints.

    Returns:
        None of a checkpoint that stands alone, or of a run that does not tell.

    Raises:
        CheckpointError: the run's configuration is damaged.
    """
    folder = next((each for each in (run, *run.resolve().parents[:2]) if _is_run(each)), None)
    if folder is None:
        return None
    settings = read_settings(folder)
    if not {"dataset", "embeddings"} <= set(settings):
        return None
    return recorded_path(folder, settings, "dataset"), recorded_path(folder, settings, "embeddings")


def _is_run(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() and (folder / CHECKPOINTS).is_dir()


def same_place(run: Path, settings: Mapping[str, Any], name: str, given: str | None) -> bool:
    """Whether a path that is given now is the one that a run recorded as one of its `INPUTS`."""
    if given is None or settings.get(name) is None:
        return given == settings.get(name)
    return os.path.realpath(given) == os.path.realpath(recorded_path(run, settings, name))


def _bases(run: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Folders that a run's relative paths may be meant from."""
    out = Path(settings.get(_OUT, "")).parts
    for place in (run.absolute(), run.resolve()):
        if out and place.parts[-len(out) :] == out:
            yield Path(*place.parts[: -len(out)])
    if _STARTED_IN in settings:
        yield Path(settings[_STARTED_IN])
    yield Path.cwd()
