"""A bounded queue before the one thread that encodes and searches.

Searches that wait together pass the encoder together; everything that reads or changes the gallery
runs in that thread, in the order in which it came.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from cir.errors import UnreachableError

T = TypeVar("T")

_STOPPED: Final = "the server is stopping"


class BusyError(Exception):
    """The queue is full, or the server is stopping: the request may come again later."""


@dataclass(eq=False)
class Job:
    """A piece of work: a search, which is batched with its like, or a call."""

    search: Any | None
    call: Callable[[], Any] | None
    done: "asyncio.Future[Any]"
    queued: float = field(default_factory=time.perf_counter)


class Batcher:
    """Runs jobs in one thread, searches in batches."""

    def __init__(
        self,
        search_all: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        queue: int,
        batch: int,
    ) -> None:
        """Makes a batcher that takes no job before `start`.

        Args:
            search_all: The answer of each search of a batch.
            queue: Jobs that may wait.
            batch: Searches that run together, at most.
        """
        self._search_all = search_all
        self._most, self._batch = queue, batch
        self._jobs: list[Job] = []
        self._stopping = True
        self._wake: asyncio.Event
        self._thread: ThreadPoolExecutor
        self._task: asyncio.Task[None]

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._jobs)

    def start(self) -> None:
        """Takes jobs from now on; called in the event loop that awaits them."""
        self._stopping = False
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cir-search")
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finishes what was taken, and takes no more."""
        self._stopping = True
        self._wake.set()
        await self._task
        self._thread.shutdown()

    async def search(self, search: Any) -> Any:
        """The answer to a search; raises BusyError where no more may wait."""
        return await self._submit(search, None)

    async def call(self, call: Callable[[], T]) -> T:
        """What a function returns in the thread; raises BusyError where no more may wait."""
        answer: T = await self._submit(None, call)
        return answer

    def require_room(self, coming: int = 0) -> None:
        """Raises BusyError where no more may wait.

        Args:
            coming: Requests that are not in the queue yet, and will be.
        """
        if self._stopping:
            raise BusyError(_STOPPED)
        if len(self._jobs) + coming >= self._most:
            raise BusyError(f"{self._most} requests wait already: try again in a moment")

    async def _submit(self, search: Any | None, call: Callable[[], Any] | None) -> Any:
        self.require_room()
        job = Job(search, call, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._wake.set()
        return await job.done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs or not self._stopping:
            if not self._jobs:
                self._wake.clear()
                await self._wake.wait()
                continue
            jobs = self._next()
            answers = await loop.run_in_executor(self._thread, self._answers, jobs)
            for job, answer in zip(jobs, answers, strict=True):
                _settle(job, answer)

    def _next(self) -> list[Job]:
        """The call that is first, or the searches before the first call."""
        self._jobs = [job for job in self._jobs if not job.done.done()]
        count = 0
        while count < min(len(self._jobs), self._batch) and self._jobs[count].call is None:
            count += 1
        taken = self._jobs[: max(count, 1)]
        self._jobs = self._jobs[len(taken) :]
        return taken

    def _answers(self, jobs: Sequence[Job]) -> list[Any]:
        """What each job gives, or what it raised; runs in the thread."""
        if len(jobs) > 1:
            try:
                return list(self._search_all([job.search for job in jobs]))
            except UnreachableError as fault:  # each alone would wait as long for the same
                return [_Raised(fault)] * len(jobs)
            except Exception:  # noqa: BLE001 - whose fault it is shows when each runs alone
                return [self._answer(job) for job in jobs]
        return [self._answer(job) for job in jobs]

    def _answer(self, job: Job) -> Any:
        try:
            return job.call() if job.call else self._search_all([job.search])[0]
        except Exception as fault:  # noqa: BLE001 - raised again where the job is awaited
            return _Raised(fault)


@dataclass(frozen=True)
class _Raised:
    fault: Exception


def _settle(job: Job, answer: Any) -> None:
    """Hands an answer to who awaits it, if anybody still does."""
    if job.done.done():
        return
    if isinstance(answer, _Raised):
        job.done.set_exception(answer.fault)
    else:
        job.done.set_result(answer)
