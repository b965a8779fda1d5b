"""Threads that scan: one a usable core, each computing its own matrix products."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from cir.arithmetic import float32
from cir.workers import pick_threads


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
    with threadpool_limits(1, user_api="blas"), _float32_sums(), pool:
        try:
            yield pool
        finally:
            torch.set_num_threads(before)


@contextmanager
def _float32_sums() -> Iterator[None]:
    """Keeps GPUs from summing in fewer bits than the error bound of a sketch assumes."""
    products = torch.backends.cuda.matmul
    before = products.allow_bf16_reduced_precision_reduction
    products.allow_bf16_reduced_precision_reduction = False
    try:
        with float32():
            yield
    finally:
        products.allow_bf16_reduced_precision_reduction = before
