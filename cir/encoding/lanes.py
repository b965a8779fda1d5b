"""Batches of a light encoder side by side: each core has one of its own.

Threads that share a batch wait for each other after every operation. A heavy encoder's operations
are long, and nearly all of the time is theirs; a light one's are short, and two cores that share
its batches were measured idle for a fifth of the time beside processes that decode. A thread that
computes a whole batch waits for nobody.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Final, TypeVar

import torch

from cir.encoding.batching import is_heavy
from cir.encoding.encoder import Encoder
from cir.machine.threads import pool_of_single_threads

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_AHEAD: Final = 1
"""Batches that wait for a lane."""


def in_lanes(
    encoder: Encoder,
    encode: Callable[[Batch], Result],
    batches: Iterable[Batch],
    count: int,
) -> Iterator[Result]:
    """Yields `encode(batch)` of every batch, in order.

    Args:
        encoder: The one that `encode` uses. Where it is light, in eval mode and on the CPU, as
            many batches are encoded at once as torch has threads, each in one thread.
        encode: Encodes a batch, without gradients.
        batches: Read as far ahead as the lanes need.
        count: How many batches there are: one has all threads.
    """
    lanes = min(_lanes_for(encoder), count)
    return map(encode, batches) if lanes <= 1 else _side_by_side(encode, batches, lanes)


def _lanes_for(encoder: Encoder) -> int:
    """How many batches are encoded at once."""
    alone = encoder.device.type != "cpu" or encoder.clip.training or is_heavy(encoder)
    return 1 if alone else torch.get_num_threads()


def _side_by_side(
    encode: Callable[[Batch], Result], batches: Iterable[Batch], lanes: int
) -> Iterator[Result]:
    pending = deque[Future[Result]]()
    with pool_of_single_threads(lanes) as pool:
        for batch in batches:
            pending.append(pool.submit(encode, batch))
            if len(pending) > lanes + _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
