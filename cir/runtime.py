"""The machine: which device, which arithmetic, and where torch's randomness starts."""

import os
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from cir.errors import UsageError

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device called `name`; `auto` takes CUDA, then Apple's, then the CPU.

    Of several GPUs, each process that a launcher started on a machine takes one.

    Raises:
        UsageError: there is no such device, or it is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((device for device, here in present.items() if here), "cpu")
    if not present.get(name, True):
        raise UsageError(f"`device={name!r}`: this machine has none; pass `device='auto'` or cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device(name, int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    try:
        return torch.device(name)
    except RuntimeError:
        raise UsageError(f"`device` is {name!r}; expected auto, cpu, cuda or mps") from None


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Runs the block's matrix products in `precision`: fp32, bf16 or fp16."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_AUTOCAST[precision])


def seed_all(*parts: int) -> None:
    """Seeds torch's generators (initial weights, dropout) from all of `parts` together."""
    torch.manual_seed(int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1))
