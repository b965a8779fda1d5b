"""How the library tells that it gets on, without printing: the caller passes a `Progress`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol, runtime_checkable


@runtime_checkable
class Task(Protocol):
    """One piece of work under way."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """`count` more units are done; `figures` (loss, learning rate) stand beside the bar."""


@runtime_checkable
class Progress(Protocol):
    """Shows tasks. `pipeline.console` draws them with rich."""

    def task(self, label: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """Opens a task of `total` units, named by `unit` (images, queries, batches)."""


class _SilentTask:
    def advance(self, count: int = 1, **figures: float) -> None:
        """Tells nobody."""


class SilentProgress:
    """Shows nothing: the default of every function of the library."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        yield _SilentTask()


SILENT: Final = SilentProgress()
"""The silent progress that functions default to."""
