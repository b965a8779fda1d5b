"""Threads that scan: one a usable core, each computing its own matrix products."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from cir.machine.arithmetic import float32
from cir.machine.workers import blas_libraries, pick_threads


@contextmanager
def scanning_threads(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Starts threads in which neither torch nor NumPy starts further threads.

    Args:
        threads: How many; by default one a usable core.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        pick_threads(threads), initializer=torch.set_num_threads, initargs=(1,)
    )
    with blas_libraries().limit(limits=1), float32(), pool:
        try:
            yield pool
        finally:
            torch.set_num_threads(before)
