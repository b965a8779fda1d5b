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
    with threadpool_limits(1, user_api="blas"), _sums_in_float32(), workers:
        try:
            yield workers
        finally:
            torch.set_num_threads(before)


@contextmanager
def _sums_in_float32() -> Iterator[None]:
    """Keeps GPUs from adding in fewer bits than the bound of a sketch counts on."""
    products = torch.backends.cuda.matmul
    before = products.allow_bf16_reduced_precision_reduction, products.allow_tf32
    products.allow_bf16_reduced_precision_reduction, products.allow_tf32 = False, False
    try:
        yield
    finally:
        products.allow_bf16_reduced_precision_reduction, products.allow_tf32 = before
