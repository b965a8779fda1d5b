"""The same function over many inputs in worker processes, results in the order of the inputs.

No worker outlives the caller, however that ends (`cir.machine.lifeline`).
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeVar

from cir.errors import CirError
from cir.machine.lifeline import Lifeline, hang_on, interrupts_kept_back

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK: Final = 64


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Yields `function(item)` of every item, in order, for any number of workers.

    Args:
        function: A picklable function of a module.
        items: Its inputs, picklable.
        workers: Processes; 0 and 1 compute in this one.

    Raises:
        CirError: a worker was killed.
    """
    if workers <= 1 or len(items) <= _CHUNK:
        yield from map(function, items)
        return
    # Forking a process whose libraries hold threads may hang; a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with (
        Lifeline() as lifeline,
        ProcessPoolExecutor(
            min(workers, -(-len(items) // _CHUNK)),
            mp_context=context,
            initializer=hang_on,
            initargs=(lifeline.end,),
        ) as pool,
    ):
        try:
            # Not `map`, which calls off what is left before the workers are ended: of that the
            # thread that minds them dies.
            with interrupts_kept_back():
                chunks = [
                    pool.submit(_results, function, items[start : start + _CHUNK])
                    for start in range(0, len(items), _CHUNK)
                ]
            for chunk in chunks:
                yield from chunk.result()
        except BrokenProcessPool:
            raise CirError(
                "a worker process was killed, perhaps for lack of memory: try `workers=1`"
            ) from None
        except BaseException:
            # Nobody waits for what the workers have begun, nor for those that are still loading.
            lifeline.cut()
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise


def _results(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
