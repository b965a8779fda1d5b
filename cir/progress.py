"""How the library reports progress without printing: the caller passes a `Progress`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol, runtime_checkable


@runtime_checkable
class Task(Protocol):
    """One piece of work under way."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """`count` more units are done; `figures` (loss, learning rate) stand beside the bar."""

    def tally(self, **counts: int) -> None:
        """So many more of other units are done on the way (`images=32`): told as speeds."""


@runtime_checkable
class Progress(Protocol):
    """Shows tasks. `pipeline.screen.bars` draws them with rich."""

    def task(self, label: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """Opens a task of `total` units, named by `unit` (images, queries, batches).

        A task that is opened inside another is a part of it, and gone when it is done.
        """


class _SilentTask:
    def advance(self, count: int = 1, **figures: float) -> None:
        """Tells nobody."""

    def tally(self, **counts: int) -> None:
        """Tells nobody."""


class SilentProgress:
    """Shows nothing: the default of every function of the library."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        yield _SilentTask()


SILENT: Final = SilentProgress()
"""The silent progress that functions default to."""


class PartsOf:
    """A progress whose tasks are parts of a whole: each unit of theirs is one of the whole, too.

    Their figures stand beside the whole, and there alone.
    """

    def __init__(self, whole: Task, progress: Progress) -> None:
        """Shows parts of `whole`, a task of `progress`, in it."""
        self._whole, self._progress = whole, progress

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        with self._progress.task(label, total, unit) as task:
            yield _Part(task, self._whole)


class _Part:
    def __init__(self, task: Task, whole: Task) -> None:
        self._task, self._whole = task, whole

    def advance(self, count: int = 1, **figures: float) -> None:
        """Moves both; the whole shows the figures."""
        self._whole.advance(count, **figures)
        self._task.advance(count)

    def tally(self, **counts: int) -> None:
        """Counts for the part, whose speed is the one of interest."""
        self._task.tally(**counts)
