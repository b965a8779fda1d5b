"""A progress that counts what it is told."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class CountingProgress:
    """Adds up totals and advances by the tasks' labels."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.advanced: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["_CountedTask"]:
        self.totals[label] += total
        yield _CountedTask(self, label)


class _CountedTask:
    def __init__(self, progress: CountingProgress, label: str) -> None:
        self._progress, self._label = progress, label

    def advance(self, count: int = 1, **figures: float) -> None:
        self._progress.advanced[self._label] += count
        self._progress.calls[self._label] += 1

    def tally(self, **counts: int) -> None:
        """Not counted."""
