"""The log of a run: a line of figures an epoch, and another of the seconds that it took.

The figures are those of the run, the same however often it was interrupted. The seconds are those
of a machine and a day, and are kept with both in a file of their own.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from cir.artefacts.manifest import Manifest
from cir.disk.files import written_aside
from cir.disk.reading import read_text
from cir.errors import CheckpointError
from cir.names import METRICS_FILE, TIMES_FILE
from cir.types import KINDS

PARTS: Final = ("train", "embed", "evaluate", "mine")
"""The parts of an epoch's time; the rest goes to saving and the like."""


@dataclass(frozen=True)
class EpochLosses:
    """The means of one epoch's steps, each query counted once."""

    loss: float
    triplet: float | None
    """None where no triplet term is trained."""
    contrastive: float | None
    """None where no contrastive term is trained."""
    active_share: float | None
    """Share of triplets that violate the margin."""
    temperature: float | None
    """Of the contrastive term, the mean over the steps."""
    learning_rate: float
    """The combiner's, at the last step."""


@dataclass(frozen=True)
class EpochMetrics:
    """One line of `metrics.jsonl`."""

    epoch: int
    """0 is the state before training."""
    losses: EpochLosses | None
    """None at epoch 0."""
    dev: Mapping[str, float]
    """Recall@K and headline on the dev split, in percent."""
    manifest: Mapping[str, float] | None
    """Of the manifest mined after this epoch; None where none was."""
    sum: Mapping[str, float] | None = None
    """As `dev`, for the plain sum; at epoch 0 only."""
    fixed: float | None = None
    """The triplet loss on the negatives that the run began with; None where it was not measured."""

    def to_json(self) -> dict[str, Any]:
        """The line's object."""
        losses = asdict(self.losses) if self.losses else dict.fromkeys(_LOSSES)
        line = {"epoch": self.epoch, **losses, "dev": dict(self.dev)}
        line |= {"manifest": self.manifest and dict(self.manifest), "fixed": self.fixed}
        return line | ({"sum": dict(self.sum)} if self.sum else {})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "EpochMetrics":
        """Reads the result of `to_json`."""
        known = line["loss"] is not None
        losses = EpochLosses(**{name: line[name] for name in _LOSSES}) if known else None
        return cls(line["epoch"], losses, line["dev"], line["manifest"], fixed=line.get("fixed"))


_LOSSES: Final = tuple(field.name for field in fields(EpochLosses))


def _standing(dev: Mapping[str, float]) -> tuple[float, float]:
    """By what epochs are compared: the headline, and of equal ones, as where it is full, R@1."""
    return dev["headline"], dev["R@1"]


class RunLog:
    """The lines of a run's `metrics.jsonl`, one an epoch from epoch 0 on, and its `times.jsonl`."""

    def __init__(self, run: Path) -> None:
        """Reads the lines that are there.

        Raises:
            CheckpointError: the figures are damaged. Seconds that are lost or damaged are not on
                record; no epoch depends on them.
        """
        self._metrics_file, self._times_file = run / METRICS_FILE, run / TIMES_FILE
        self._figures = _read_figures(self._metrics_file)
        self._times = _read_times(self._times_file)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The figures of every epoch, with the seconds that it took where they are on record."""
        return [line | self._times.get(line["epoch"], {}) for line in self._figures]

    @property
    def epochs(self) -> int:
        """Epochs on record, epoch 0 included."""
        return len(self._figures)

    def is_best(self, dev: Mapping[str, float]) -> bool:
        """Whether an epoch with these figures is better than every epoch on record."""
        return all(_standing(dev) > standing for standing in self._standings())

    def epochs_since_best(self) -> int:
        """Epochs on record after the first of the best."""
        standings = self._standings()
        return len(standings) - 1 - standings.index(max(standings)) if standings else 0

    def is_at_plateau(self, patience: int) -> bool:
        """Whether so many epochs on record, or more, have not bettered the best."""
        return self.epochs_since_best() >= patience

    def _standings(self) -> list[tuple[float, float]]:
        return [_standing(line["dev"]) for line in self._figures]

    def keep(self, epochs: int) -> None:
        """Drops the lines of later epochs, which are about to be trained again."""
        if epochs < len(self._figures):
            self._figures = self._figures[:epochs]
            _write_lines(self._metrics_file, self._figures)

    def append(self, metrics: EpochMetrics, seconds: Mapping[str, Any], machine: str) -> None:
        """Adds an epoch; its line of `metrics.jsonl` is written last, and makes it count.

        Args:
            metrics: Its figures.
            seconds: Its seconds, as `Clock.seconds` gives them.
            machine: What it was trained on, as `cir.machine.runtime.machine` names it.
        """
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        took = {"epoch": metrics.epoch, **seconds, "ended": ended, "machine": machine}
        earlier = {number: line for number, line in self._times.items() if number < metrics.epoch}
        self._times = {**earlier, metrics.epoch: took}
        _write_lines(self._times_file, list(self._times.values()))
        self._figures = [*self._figures, metrics.to_json()]
        _write_lines(self._metrics_file, self._figures)


class Clock:
    """Measures an epoch from the moment it is made, on top of an earlier clock's seconds."""

    def __init__(self, earlier: Mapping[str, Any] | None = None) -> None:
        """Starts.

        Args:
            earlier: The result of `seconds` when the epoch was interrupted; None for a new epoch.
        """
        before = earlier or {"seconds": 0.0, "parts": {}}
        self._started = time.perf_counter() - before["seconds"]
        self._parts = dict.fromkeys(PARTS, 0.0) | dict(before["parts"])
        self._open: tuple[str, float] | None = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block's seconds as those of one of `PARTS`."""
        self._open = name, time.perf_counter()
        try:
            yield
        finally:
            self._parts, self._open = self._now(), None

    def seconds(self) -> dict[str, Any]:
        """The seconds of the epoch so far, and those of each part, as JSON values."""
        parts = {name: round(value, 3) for name, value in self._now().items()}
        return {"seconds": round(time.perf_counter() - self._started, 3), "parts": parts}

    def _now(self) -> dict[str, float]:
        if self._open is None:
            return self._parts
        name, since = self._open
        return self._parts | {name: self._parts[name] + time.perf_counter() - since}


def manifest_figures(
    manifest: Manifest, trust: Float32[np.ndarray, " queries"] | None = None
) -> dict[str, float]:
    """Mean distances, the share of each kind of negative, and the number of starved queries.

    Where pairs are trusted more or less, `trust` is the mean: the share that is probably right.
    """
    kinds = np.bincount(manifest.negative_kinds, minlength=len(KINDS))
    return {
        "target_distance": _mean(manifest.target_distances),
        "negative_distance": _mean(manifest.negative_distances),
        **{kind: float(kinds[code] / max(kinds.sum(), 1)) for code, kind in enumerate(KINDS)},
        "starved": manifest.metadata.counts.starved,
        **({} if trust is None else {"trust": _mean(trust)}),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else 0.0


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the file as a whole, so that no reader meets half a line."""
    with written_aside(path) as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _read_times(path: Path) -> dict[int, dict[str, Any]]:
    """The seconds of each epoch that they are on record of, by its number."""
    try:
        return {line["epoch"]: line for line in _read_lines(path)}
    except (CheckpointError, KeyError, TypeError):
        return {}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines()]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line is no object")
        return lines
    except (OSError, ValueError, RecursionError) as fault:
        raise CheckpointError(
            f"{path} is damaged ({fault}): train again with `overwrite=True`"
        ) from fault


def _read_figures(path: Path) -> list[dict[str, Any]]:
    lines = _read_lines(path)
    if any(line.get("epoch") != number for number, line in enumerate(lines)):
        raise CheckpointError(f"{path} lacks an epoch: train again with `overwrite=True`")
    if not all(isinstance(line.get("dev"), dict) for line in lines):
        raise CheckpointError(f"{path} lacks figures on dev: train again with `overwrite=True`")
    return lines
