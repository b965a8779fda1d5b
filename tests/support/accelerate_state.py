"""accelerate's state, of which a process has one: it would be kept from one test to the next."""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate.state import AcceleratorState


@contextmanager
def no_accelerate_state() -> Iterator[None]:
    """Nothing of accelerate's is in the process when the block begins, nor after it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
