"""The queue before the encoder: batches, order, bounds, and an end that finishes what was taken."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from cir.errors import UnreachableError
from cir.serving.batching import Batcher, BusyError


class Slow:
    """Answers searches with their doubles, once it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, searches: Sequence[int]) -> list[int]:
        self.go.wait(10)
        self.batches.append(list(searches))
        if 404 in searches:
            raise UnreachableError("the index does not answer")
        if any(search < 0 for search in searches):
            raise ValueError(f"{min(searches)} is negative")
        return [2 * search for search in searches]


def run(scenario: Callable, *, queue: int = 8, batch: int = 4) -> Slow:
    slow = Slow()

    async def running() -> None:
        batcher = Batcher(slow, queue=queue, batch=batch)
        batcher.start()
        await scenario(batcher, slow)
        await batcher.stop()

    asyncio.run(running())
    return slow


async def held(batcher: Batcher, *jobs: object) -> list[asyncio.Task]:
    """The jobs, queued behind one that is under way."""
    first = asyncio.ensure_future(batcher.search(0))
    await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(job) for job in jobs]
    await asyncio.sleep(0.01)
    return [first, *rest]


def test_searches_that_wait_together_run_together() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        tasks = await held(batcher, *(batcher.search(n) for n in range(1, 7)))
        slow.go.set()
        assert await asyncio.gather(*tasks) == [2 * n for n in range(7)]

    assert run(scenario).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_calls_keep_their_place_among_searches() -> None:
    order: list[str] = []

    async def scenario(batcher: Batcher, slow: Slow) -> None:
        calls = batcher.search(1), batcher.call(lambda: order.append("call")), batcher.search(2)
        tasks = await held(batcher, *calls)
        slow.go.set()
        await asyncio.gather(*tasks)

    assert run(scenario).batches == [[0], [1], [2]]
    assert order == ["call"]


def test_beyond_the_queue_a_request_is_sent_away() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        tasks = await held(batcher, batcher.search(1), batcher.search(2))
        assert batcher.waiting == 2
        with pytest.raises(BusyError, match="2 requests wait already"):
            await batcher.search(3)
        slow.go.set()
        await asyncio.gather(*tasks)
        assert await batcher.search(3) == 6

    run(scenario, queue=2)


def test_a_fault_is_that_of_its_request_alone() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        tasks = await held(batcher, batcher.search(1), batcher.search(-1), batcher.search(2))
        slow.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[:2] == [0, 2]
        assert str(answers[2]) == "-1 is negative"
        assert answers[3] == 4

    run(scenario)


def test_an_index_that_does_not_answer_is_asked_once_for_a_batch() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        tasks = await held(batcher, batcher.search(1), batcher.search(404), batcher.search(2))
        slow.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[0] == 0
        assert [type(answer) for answer in answers[1:]] == [UnreachableError] * 3

    assert run(scenario).batches == [[0], [1, 404, 2]]


def test_what_was_given_up_is_not_computed() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        first, second, third = await held(batcher, batcher.search(1), batcher.search(2))
        second.cancel()
        await asyncio.sleep(0)
        slow.go.set()
        assert await asyncio.gather(first, third) == [0, 4]

    assert run(scenario).batches == [[0], [2]]


def test_stopping_finishes_what_was_taken_and_takes_no_more() -> None:
    async def scenario(batcher: Batcher, slow: Slow) -> None:
        tasks = await held(batcher, batcher.search(1))
        stopping = asyncio.ensure_future(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="stopping"):
            await batcher.search(2)
        slow.go.set()
        await stopping
        assert [task.result() for task in tasks] == [0, 2]

    run(scenario)
