"""What a run's lines say of an epoch, sorted for charts: the one place that knows their names.

A number that is not known here is no fault: it is charted under its own name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TOTAL: Final = "total"
"""The loss that is descended, whatever it is the sum of."""

_TERMS: Final = {"loss": TOTAL, "triplet": "triplet", "contrastive": "contrastive"}
"""Losses that stand in the line itself; others stand in `losses`, by name."""
_RATE: Final = "learning_rate"
_PARTS: Final = "parts"
_KNOWN: Final = {*_TERMS, "losses", "epoch", "seconds", _PARTS, "active_share", "dev", "sum"} | {
    "manifest"
}


@dataclass(frozen=True)
class Measured:
    """One epoch; what it did not measure is missing from its mappings."""

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
    dev: Mapping[str, float]
    """Recall@K and headline on the dev split, in percent."""
    kinds: Mapping[str, float] | None
    """Shares of the kinds of negatives mined after the epoch; None where none were."""
    others: Mapping[str, float]
    """Further numbers by name."""


def measured(line: Mapping[str, Any]) -> Measured:
    """Sorts one line of `cir.training.metrics_log.RunLog`."""
    flat = {TOTAL: line["loss"]} if "loss" in line else {}
    flat |= {term: line.get(name) for name, term in _TERMS.items() if name != "loss"}
    unknown = {name: value for name, value in line.items() if name not in _KNOWN}
    return Measured(
        epoch=line["epoch"],
        losses=_numbers(flat | dict(line.get("losses") or {})),
        rates=_numbers({k: v for k, v in unknown.items() if _RATE in k}),
        active_share=line.get("active_share"),
        seconds=line.get("seconds", 0.0),
        parts=_numbers(line.get(_PARTS) or {}),
        dev=line["dev"],
        kinds=line["manifest"],
        others=_numbers({k: v for k, v in unknown.items() if _RATE not in k}),
    )


def series(
    epochs: Sequence[Measured], field: str
) -> dict[str, tuple[Sequence[int], Sequence[float]]]:
    """Epochs and values of each name that stands in a mapping of any of the epochs."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for one in epochs:
        for name, value in getattr(one, field).items():
            at, values = found.setdefault(name, ([], []))
            at.append(one.epoch)
            values.append(value)
    return dict(found)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers, those of nested objects named `object / name`."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers |= {f"{name} / {inner}": v for inner, v in _numbers(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[name] = value
    return numbers
