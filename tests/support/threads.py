"""Threads that stand for processes, which learn of each other what processes would."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

from cir.errors import CirError
from cir.machine.processes import Processes

T = TypeVar("T")
_LEFT = threading.BrokenBarrierError


class Meeting:
    """Where threads that stand for processes lay down what they say."""

    def __init__(self, count: int) -> None:
        self.said: list[Any] = [None] * count
        self.barrier = threading.Barrier(count, timeout=60)

    def exchanged(self, rank: int, value: Any) -> list[Any]:
        self.said[rank] = value
        self.barrier.wait()
        told = list(self.said)
        self.barrier.wait()
        return told


class Threads(Processes):
    """One of several threads, whose parts of a gallery end where they are told."""

    def __init__(self, rank: int, shares: Sequence[float], meeting: Meeting) -> None:
        super().__init__(rank, len(shares) + 1)
        self.shares, self.meeting = [0.0, *sorted(shares), 1.0], meeting

    def part(self, total: int) -> slice:
        start, stop = (round(total * share) for share in self.shares[self.rank : self.rank + 2])
        return slice(start, stop)

    def _meet(self, error: CirError | None, value: Any = None) -> list[Any]:
        said = self.meeting.exchanged(self.rank, (error, value))
        for failure, _ in said:
            if failure is not None:
                self._failed = True
                raise failure
        return [each for _, each in said]

    def all_in_main(self, value: T) -> list[T]:
        values: list[T] = self._meet(None, value)
        return values if self.main else []

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        made: list[T] = self._meet(None, make() if self.main else None)
        return made[0]

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        parts = self.meeting.exchanged(self.rank, array.copy())
        assert len({(part.shape, part.dtype) for part in parts}) == 1
        return parts


@contextmanager
def one_thread(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """In place of `scanning_threads`, which sets what threads have in common."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def in_shards(shares: Sequence[float], work: Callable[[Processes], T]) -> list[T]:
    """What each process makes of its part of the gallery."""
    count = len(shares) + 1
    meeting = Meeting(count)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(count) as pool:
        for module in ("scan.stream", "exclusions.near_duplicates", "exclusions.rules"):
            patch.setattr(f"cir.mining.{module}.scanning_threads", one_thread)
        processes = [Threads(rank, shares, meeting) for rank in range(count)]
        running = [pool.submit(work, own) for own in processes]
        for each in as_completed(running):
            if each.exception():
                meeting.barrier.abort()
        # The others may learn of a failure by the barrier that it broke.
        for each in sorted(running, key=lambda one: isinstance(one.exception(), _LEFT)):
            each.result()
        return [each.result() for each in running]
