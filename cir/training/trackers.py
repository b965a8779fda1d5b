"""Where a run's figures go beside `metrics.jsonl`: TensorBoard, Weights & Biases, or nowhere."""

import importlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from cir.errors import CirError, UsageError, reason_of
from cir.names import TENSORBOARD, WANDB, WANDB_ID

_PROJECT: Final = "cir"
"""The project of Weights & Biases, where WANDB_PROJECT names no other."""
_SENDING_NOTHING: Final = ("offline", "dryrun", "disabled")
"""Values of WANDB_MODE that need no account."""


class Trackers:
    """Sends the figures of some steps, and those of every epoch.

    Both are logged by the number of updates, for Weights & Biases has one axis that only grows.
    """

    def __init__(self, accelerator: Accelerator, names: Sequence[str], every: int) -> None:
        """Checks that the trackers can be opened, and opens none yet.

        Args:
            accelerator: Logs in its main process.
            names: The trackers: tensorboard, wandb.
            every: The figures of every so many steps are sent.

        Raises:
            UsageError: Weights & Biases is not installed, or not logged in to.
        """
        if WANDB in names:
            _require_wandb()
        self._accelerator = accelerator
        self._names = tuple(dict.fromkeys(names))
        self._every = every
        self._updates = 0
        self._run = Path()

    def start(self, run: Path, settings: Mapping[str, Any], updates: int = 0) -> None:
        """Opens the trackers of a run that has made some updates.

        Figures that a killed run sent of later updates are deleted where the tracker can do so.

        Args:
            run: The run folder, in which each has a folder of its own.
            settings: The run's configuration as JSON values.
            updates: How many updates the run has made.

        Raises:
            UsageError: a tracker does not open.
        """
        self._updates, self._run = updates, run
        if not self._accelerator.is_main_process:
            return
        self._accelerator.log_with = [_MAKERS[n](run, settings, updates) for n in self._names]
        with _refusal_in_one_line():
            self._accelerator.init_trackers(_PROJECT)

    def step(self, figures: Mapping[str, Any]) -> None:
        """Counts an update; sends its figures where its turn has come."""
        self._updates += 1
        if self._updates % self._every == 0:
            self._send(dict(_scalars(figures, "step/")))

    def epoch(self, line: Mapping[str, Any]) -> None:
        """Sends the numbers of one line of `metrics.jsonl`."""
        self._send(dict(_scalars(line, "epoch/")))

    def finish(self) -> None:
        """Closes the trackers; accelerate's own ending would part the processes as well.

        Raises:
            CirError: what is left to write cannot be written.
        """
        with _fault_named(self._run):
            for tracker in self._accelerator.trackers:
                tracker.finish()

    def _send(self, figures: dict[str, float]) -> None:
        with _fault_named(self._run):
            self._accelerator.log(figures, step=self._updates)


def updates_made(optimiser: Mapping[str, Any]) -> int:
    """How many updates an optimiser's state comes from: those of the weight it moved most often."""
    return max((int(state["step"]) for state in optimiser["state"].values()), default=0)


def _tensorboard(run: Path, settings: Mapping[str, Any], updates: int) -> GeneralTracker:
    return TensorBoardTracker(TENSORBOARD, str(run), purge_step=updates + 1 if updates else None)


def _wandb(run: Path, settings: Mapping[str, Any], updates: int) -> GeneralTracker:
    identity = run / WANDB / WANDB_ID
    if not identity.is_file():
        identity.parent.mkdir(parents=True, exist_ok=True)
        identity.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return WandBTracker(
        os.environ.get("WANDB_PROJECT", _PROJECT),
        name=run.name,
        dir=str(run),
        id=identity.read_text(encoding="utf-8"),
        resume="allow",
        config=dict(settings),
    )


_MAKERS: Final[Mapping[str, Callable[[Path, Mapping[str, Any], int], GeneralTracker]]] = {
    TENSORBOARD: _tensorboard,
    WANDB: _wandb,
}


def _require_wandb() -> None:
    if find_spec(WANDB) is None:
        raise UsageError(
            "`tracker='wandb'`: the package wandb is not installed; run pip install 'cir[wandb]', "
            "or leave it out"
        )
    if os.environ.get("WANDB_MODE", "online") not in _SENDING_NOTHING:
        with _refusal_in_one_line():
            importlib.import_module(WANDB).login()


@contextmanager
def _fault_named(run: Path) -> Iterator[None]:
    """Says in one line why figures cannot be written."""
    try:
        yield
    except OSError as fault:
        raise CirError(
            f"the figures for {TENSORBOARD} cannot be written in {run}: {reason_of(fault)}; or go "
            f"on with `tracker='none'`"
        ) from fault


@contextmanager
def _refusal_in_one_line() -> Iterator[None]:
    """Says in one line why Weights & Biases does not open."""
    try:
        yield
    except Exception as fault:
        if not type(fault).__module__.startswith(WANDB):
            raise
        raise UsageError(
            f"`tracker='wandb'`: {' '.join(str(fault).split())} Set WANDB_API_KEY, or "
            f"WANDB_MODE=offline to keep the figures in the run folder"
        ) from fault


def _scalars(values: Mapping[str, Any], group: str) -> Iterator[tuple[str, float]]:
    """Every number, named by where it stands."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{group}{name}/")
        elif isinstance(value, int | float):
            yield f"{group}{name}", value
