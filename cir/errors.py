"""The failures a user can mend: one line saying what was expected, what came and what to do."""

from collections.abc import Iterable


class CirError(Exception):
    """A failure that is the input's or the machine's, not the program's."""


class UsageError(CirError):
    """What was asked for cannot be: an unknown name, an output that exists, options at odds."""


class ConfigError(UsageError):
    """A configuration with one or more faults, all of them named at once."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class DatasetError(CirError):
    """A dataset folder that lacks what a stage needs, or holds what it cannot read."""


class ImageError(CirError):
    """An image file that is missing, empty, truncated or no image."""


class WeightsError(CirError):
    """Encoder weights that cannot be had, read, or fitted to the model."""


class StoreError(CirError):
    """An embedding store that is damaged, lacks a row, or belongs to another encoder."""


class ManifestError(CirError):
    """A manifest that is damaged or was mined from something else."""


class CheckpointError(CirError):
    """A checkpoint that is damaged or does not fit."""


class TrainingError(CirError):
    """A training run that cannot go on, its last good checkpoint untouched."""


class StoppedError(CirError):
    """A run that a signal stopped; it can be gone on with."""

    def __init__(self, signal: int, line: str) -> None:
        self.signal = signal
        super().__init__(line)


class VectorError(CirError):
    """Vectors that no distance is defined for: NaN, infinite, all zero, of another dimension."""
