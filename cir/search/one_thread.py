"""One thread for one query: threads that wait for each other take longer than they save.

A photo in the bundled encoder takes two threads longer than one, and half as much processor time
again; beside a busy neighbour, who makes one of the two late, more (`tests/benchmarks/busy.py`).
To compare one query with 74,381 photos takes two threads of BLAS five times as long as one there.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import Lock
from typing import Final

import torch

from cir.encoding.batching import work_of_photo
from cir.encoding.encoder import Encoder
from cir.machine.workers import blas_libraries

_LIGHT: Final = 1e8
"""Multiplications of one photo up to which an encoder is one that a core has done in 20 ms."""
_PHOTOS: Final = 2
_TEXTS: Final = 8
"""What a light encoder was measured to encode no slower in one thread than in two."""
_QUERIES: Final = 2
_ROWS: Final = 100_000
"""What is compared within some milliseconds by one thread."""


def threads_for(encoder: Encoder, photos: int, texts: int) -> AbstractContextManager[None]:
    """Encodes in one thread where that is little work for a processor, else in as many as set.

    torch's number of threads is that of the whole process: where several threads of a program are
    in such blocks, the last one to leave sets it back.

    Args:
        encoder: It encodes within the block.
        photos: How many photos.
        texts: How many texts.
    """
    light = encoder.device.type == "cpu" and work_of_photo(encoder) <= _LIGHT
    little = light and photos <= _PHOTOS and texts <= _TEXTS
    return _one_thread() if little else nullcontext()


def threads_to_compare(queries: int, rows: int) -> AbstractContextManager[None]:
    """Composes queries and compares them with photos, likewise.

    Args:
        queries: How many.
        rows: How many photos each is compared with.
    """
    return _one_thread() if queries <= _QUERIES and rows <= _ROWS else nullcontext()


@contextmanager
def _one_thread() -> Iterator[None]:
    _BLOCKS.enter()
    try:
        yield
    finally:
        _BLOCKS.leave()


class _Blocks:
    """The blocks under way, and the threads of torch and of BLAS that there were before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside, self._before = 0, 0
        self._of_blas = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_num_threads()
                self._of_blas.enter_context(blas_libraries().limit(limits=1))
            self._inside += 1
            torch.set_num_threads(1)

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            torch.set_num_threads(1 if self._inside else self._before)
            if not self._inside:
                self._of_blas.close()


_BLOCKS: Final = _Blocks()
