"""The figures of an epoch, sorted for charts: the one place of a report that knows their names.

A line holds what `cir.training.metrics_log` writes. A number that is not known here is charted
under its own name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TOTAL: Final = "total"
"""The loss that training minimises, the weighted sum of the terms."""

FIXED: Final = "fixed negatives"
"""The triplet loss on the negatives that the run began with."""

_LOSSES: Final = {
    "loss": TOTAL,
    "triplet": "triplet",
    "fixed": FIXED,
    "contrastive": "contrastive",
}
"""Entries of a line that are losses, with their names in charts."""
_RATE: Final = "learning_rate"
_PARTS: Final = "parts"
_TRUST: Final = "trust"
"""Of a manifest: the mean probability that a query's pair is right, where it is estimated."""
_KNOWN: Final = {
    *(*_LOSSES, "epoch", "seconds", _PARTS, "ended", "machine"),
    *("active_share", "dev", "sum", "manifest"),
}


@dataclass(frozen=True)
class EpochFigures:
    """The figures of one epoch; a mapping lacks what was not measured."""

    epoch: int
    """0 is the state before training."""
    losses: Mapping[str, float]
    """Each term that was trained, the total first."""
    rates: Mapping[str, float]
    """Learning rates."""
    active_share: float | None
    """Share of the triplets that violate the margin, in 0..1."""
    seconds: float
    """Zero where its time is not on record."""
    parts: Mapping[str, float]
    """Seconds of the epoch by what was done in them, where that is known."""
    ended: str
    """When, as an ISO date and time; empty where that is not on record."""
    machine: str
    """What it was trained on; empty where that is not on record."""
    dev: Mapping[str, float]
    """Recall@K and headline on the dev split, in percent."""
    kinds: Mapping[str, float] | None
    """Shares of the kinds of negatives mined after the epoch; None where none were."""
    others: Mapping[str, float]
    """Further numbers by name."""


def epoch_figures(line: Mapping[str, Any]) -> EpochFigures:
    """Sorts one line of `cir.training.metrics_log.RunLog`."""
    unknown = {name: value for name, value in line.items() if name not in _KNOWN}
    others = {name: value for name, value in unknown.items() if _RATE not in name}
    return EpochFigures(
        epoch=line["epoch"],
        losses=_numbers({name: line.get(entry) for entry, name in _LOSSES.items()}),
        rates=_numbers({name: value for name, value in unknown.items() if _RATE in name}),
        active_share=line.get("active_share"),
        seconds=line.get("seconds", 0.0),
        parts=_numbers(line.get(_PARTS) or {}),
        ended=line.get("ended", ""),
        machine=line.get("machine", ""),
        dev=line["dev"],
        kinds=line["manifest"],
        others=_numbers({_TRUST: (line["manifest"] or {}).get(_TRUST), **others}),
    )


def series(
    epochs: Sequence[EpochFigures], field: str
) -> dict[str, tuple[Sequence[int], Sequence[float]]]:
    """Epochs and values of each name that a mapping of any of the epochs holds."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for figures in epochs:
        for name, value in getattr(figures, field).items():
            numbers, values = curves.setdefault(name, ([], []))
            numbers.append(figures.epoch)
            values.append(value)
    return dict(curves)


def losses_by_name(
    epochs: Sequence[EpochFigures],
) -> dict[str, tuple[Sequence[int], Sequence[float]]]:
    """`series` of the losses, the total first, then its terms."""
    curves = series(epochs, "losses")
    return {name: curves[name] for name in _LOSSES.values() if name in curves}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers, those of nested objects named `object / name`."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers |= {f"{name} / {inner}": v for inner, v in _numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name] = value
    return numbers
