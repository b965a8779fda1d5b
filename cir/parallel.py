"""The same function over many inputs in worker processes, results in the order of the inputs.

No worker outlives the caller, however that ends (`cir.lifeline`).
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeVar

from cir.errors import CirError
from cir.lifeline import Lifeline, hang_on, interrupts_kept_back

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
        workers: Processes; 1 computes in this one.

    Raises:
        CirError: a worker was killed.
    """
    if workers == 1 or len(items) <= _CHUNK:
        yield from map(function, items)
        return
    # Forking a process whose libraries hold threads may hang; a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
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
            with interrupts_kept_back():
                results = pool.map(function, items, chunksize=_CHUNK)
            yield from results
        except BrokenProcessPool:
            raise CirError(
                "a worker process was killed, perhaps for lack of memory: try `workers=1`"
            ) from None
        except BaseException:
            lifeline.cut()  # nobody waits for what the workers have begun
            raise
