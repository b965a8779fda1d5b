"""Threads of torch and BLAS: one where more would wait for each other, then as many as before.

Both numbers are those of the whole process. Where several threads of a program are in the blocks
below, the first to enter sets them and the last to leave sets them back.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes the block in one thread, NumPy's matrix products included."""
    with one_blas_thread(), _TORCH.block():
        torch.set_num_threads(1)
        yield


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Computes NumPy's matrix products of the block in one thread each, in whichever thread."""
    with _BLAS.block():
        yield


@contextmanager
def pool_of_single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `count` threads, in none of which torch starts further ones."""
    with _TORCH.block():
        pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


class _SharedSetting:
    """A setting of the process that lasts while any block is under way."""

    def __init__(self, setting: Callable[[], AbstractContextManager[Any]]) -> None:
        self._setting, self._set = setting, ExitStack()
        self._lock, self._inside = Lock(), 0

    @contextmanager
    def block(self) -> Iterator[None]:
        """One more block."""
        with self._lock:
            if not self._inside:
                self._set.enter_context(self._setting())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._set.close()


@contextmanager
def _torch_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def blas_libraries() -> ThreadpoolController:
    """The libraries that multiply NumPy's matrices, whose threads can be limited.

    To look for them takes 12 ms: they are looked for again where modules were imported since.
    """
    return _blas_loaded_with(len(sys.modules))


@lru_cache(maxsize=1)
def _blas_loaded_with(modules: int) -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


_TORCH: Final = _SharedSetting(_torch_restored)
_BLAS: Final = _SharedSetting(lambda: blas_libraries().limit(limits=1))
