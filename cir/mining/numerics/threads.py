"""Threads that scan: one a usable core, each computing its own matrix products."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cir.machine.arithmetic import float32
from cir.machine.threads import one_blas_thread, pool_of_single_threads
from cir.machine.workers import pick_threads


@contextmanager
def scanning_threads(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Starts threads in which neither torch nor NumPy starts further threads.

    Args:
        threads: How many; by default one a usable core.
    """
    with (
        one_blas_thread(),
        float32(),
        pool_of_single_threads(pick_threads(threads)) as pool,
    ):
        yield pool
