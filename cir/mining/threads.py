"""Threads that scan: one a core, each making its own matrix products."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from cir.workers import pick_workers


@contextmanager
def scanning_threads() -> Iterator[ThreadPoolExecutor]:
    """A thread for each usable core, in which neither torch nor NumPy starts threads of its own."""
    before = torch.get_num_threads()
    workers = ThreadPoolExecutor(
        pick_workers(None), initializer=torch.set_num_threads, initargs=(1,)
    )
    with threadpool_limits(1, user_api="blas"), workers:
        try:
            yield workers
        finally:
            torch.set_num_threads(before)
