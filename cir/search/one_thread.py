"""One thread for one query: threads that wait for each other take longer than they save.

A photo in the bundled encoder takes two threads longer than one, and half as much processor time
again; beside a busy neighbour, who makes one of the two late, more (`tests/benchmarks/busy.py`).
To compare one query with 74,381 photos takes two threads of BLAS five times as long as one there.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from cir.encoding.batching import work_of_photo
from cir.encoding.encoder import Encoder
from cir.machine.threads import one_thread

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

    Args:
        encoder: It encodes within the block.
        photos: How many photos.
        texts: How many texts.
    """
    light = encoder.device.type == "cpu" and work_of_photo(encoder) <= _LIGHT
    little = light and photos <= _PHOTOS and texts <= _TEXTS
    return one_thread() if little else nullcontext()


def threads_to_compare(queries: int, rows: int) -> AbstractContextManager[None]:
    """Composes queries and compares them with photos, likewise.

    Args:
        queries: How many.
        rows: How many photos each is compared with.
    """
    return one_thread() if queries <= _QUERIES and rows <= _ROWS else nullcontext()
