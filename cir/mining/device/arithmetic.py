"""The arithmetic that the bounds of a scan assume, whatever the program around it has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cir.machine.arithmetic import float32


@contextmanager
def plain_arithmetic(device: torch.device) -> Iterator[None]:
    """Products and sums of the block are of float32, and none is remembered for gradients."""
    with float32(), torch.autocast(device.type, enabled=False), torch.inference_mode():
        yield
