"""How negatives change over a run: the distances of each mining, and the turnover between two."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cir.artefacts.manifest import Manifest, read_manifest
from cir.artefacts.manifest_comparison import turnover


@dataclass(frozen=True)
class Spread:
    """Mean and quartiles of some values."""

    mean: float
    low: float
    """The first quartile."""
    high: float
    """The third quartile."""


@dataclass(frozen=True)
class MinedEpoch:
    """One manifest of a run."""

    epoch: int
    """After which it was mined; 0 is the manifest that training began with."""
    strategy: str
    targets: Spread | None
    """Distances to the targets; None where there is no query."""
    negatives: Spread | None
    """Distances to all mined negatives; None where there is none."""
    turnover: Spread | None
    """1 - Jaccard index with the manifest before, a value a common query; None for the first."""


@dataclass(frozen=True, eq=False)
class MinedEpochs:
    """All manifests of a run, of which only the first and the last are kept."""

    epochs: Sequence[MinedEpoch]
    first: Manifest
    last: Manifest


def read_mined(files: Sequence[Path]) -> MinedEpochs:
    """Reads manifests one after the other, two of them at a time in memory beside the first.

    Args:
        files: At least one, in the order they were mined in.

    Raises:
        ManifestError: one is damaged.
    """
    first = last = read_manifest(files[0])
    epochs = [_mined(first, None)]
    for file in files[1:]:
        last, before = read_manifest(file), last
        epochs.append(_mined(last, _spread(turnover(before, last).values)))
    return MinedEpochs(epochs, first, last)


def _mined(manifest: Manifest, exchanged: Spread | None) -> MinedEpoch:
    return MinedEpoch(
        epoch=manifest.metadata.epoch,
        strategy=manifest.metadata.strategy,
        targets=_spread(manifest.target_distances),
        negatives=_spread(manifest.negative_distances),
        turnover=exchanged,
    )


def _spread(values: Float[np.ndarray, " _"]) -> Spread | None:
    if not len(values):
        return None
    low, high = np.quantile(values, (0.25, 0.75))
    return Spread(float(values.mean(dtype=np.float64)), float(low), float(high))
