"""What a run measured: a line of JSON an epoch, and another of the time that it took.

What is measured is the run's own, the same however often it was interrupted. Its times are those of
a machine and a day, and stand in a file of their own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from cir.artefacts.manifest import Manifest
from cir.errors import CheckpointError
from cir.files import written_aside
from cir.types import KINDS

METRICS_FILE: Final = "metrics.jsonl"
TIMES_FILE: Final = "times.jsonl"


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

    def to_json(self) -> dict[str, Any]:
        """The line's object."""
        losses = asdict(self.losses) if self.losses else dict.fromkeys(_LOSSES)
        line = {"epoch": self.epoch, **losses, "dev": dict(self.dev)}
        line |= {"manifest": self.manifest and dict(self.manifest)}
        return line | ({"sum": dict(self.sum)} if self.sum else {})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "EpochMetrics":
        """What `to_json` gave before mining."""
        known = line["loss"] is not None
        losses = EpochLosses(**{name: line[name] for name in _LOSSES}) if known else None
        return cls(line["epoch"], losses, line["dev"], line["manifest"])


_LOSSES: Final = tuple(field.name for field in fields(EpochLosses))


class RunLog:
    """The lines of a run's `metrics.jsonl`, one an epoch from epoch 0 on, and its `times.jsonl`."""

    def __init__(self, run: Path) -> None:
        """Reads the lines that are there.

        Raises:
            CheckpointError: a file is damaged.
        """
        self._metrics, self._times = run / METRICS_FILE, run / TIMES_FILE
        self._measured = _read_lines(self._metrics)
        self._took = _read_lines(self._times)[: len(self._measured)]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What every epoch measured, with the seconds that it took where they are on record."""
        times = [*self._took, *[{}] * (len(self._measured) - len(self._took))]
        return [line | took for line, took in zip(self._measured, times, strict=True)]

    @property
    def epochs(self) -> int:
        """Epochs on record, epoch 0 included."""
        return len(self._measured)

    def best_headline(self) -> float:
        """The best dev headline so far; minus infinity where nothing is on record."""
        return max((line["dev"]["headline"] for line in self._measured), default=-math.inf)

    def keep(self, epochs: int) -> None:
        """Drops the lines of later epochs, which are about to be trained again."""
        if epochs < len(self._measured):
            self._measured = self._measured[:epochs]
            _write_lines(self._metrics, self._measured)

    def append(self, metrics: EpochMetrics, took: Mapping[str, Any]) -> None:
        """Adds an epoch, which counts from its line of `metrics.jsonl` on, written last.

        Args:
            metrics: What it measured.
            took: Its seconds, as JSON values.
        """
        self._took = [*self._took[: self.epochs], {"epoch": metrics.epoch, **took}]
        _write_lines(self._times, self._took)
        self._measured = [*self._measured, metrics.to_json()]
        _write_lines(self._metrics, self._measured)


def manifest_figures(manifest: Manifest) -> dict[str, float]:
    """Mean distances, the share of each kind of negative, and the number of starved queries."""
    kinds = np.bincount(manifest.negative_kinds, minlength=len(KINDS))
    return {
        "target_distance": _mean(manifest.target_distances),
        "negative_distance": _mean(manifest.negative_distances),
        **{kind: float(kinds[code] / max(kinds.sum(), 1)) for code, kind in enumerate(KINDS)},
        "starved": manifest.metadata.counts.starved,
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else 0.0


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the file as a whole, so that no reader meets half a line."""
    with written_aside(path) as aside:
        aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as fault:
        raise CheckpointError(
            f"{path} is damaged ({fault}): train again with --overwrite"
        ) from fault
    if any(line.get("epoch") != number for number, line in enumerate(lines)):
        raise CheckpointError(f"{path} lacks an epoch: train again with --overwrite")
    return lines
