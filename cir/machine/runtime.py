"""The machine: which device, how arrays get there, and torch's randomness."""

import os
import platform
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from cir import arguments
from cir.errors import UsageError

_DEVICES = ("cpu", "cuda", "mps")


def pick_device(name: str | torch.device) -> torch.device:
    """The device, or the one called `name`; `auto` takes CUDA, then Apple's, then the CPU.

    Of several GPUs, each process that a launcher started on a machine takes one.

    Raises:
        UsageError: there is no such device, or it is not on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if isinstance(name, str) and name == "auto":
        name = next((device for device, here in present.items() if here), "cpu")
    device = _device(name)
    if not present.get(device.type, True) or (device.index or 0) >= _count(device):
        raise UsageError(f"`device` is {device}; this machine has no such one: pass auto or cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device(name, int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return device


def _device(name: str | torch.device) -> torch.device:
    """A device of the kinds that are known here."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = torch.device("meta")  # none of those that are known
    named = isinstance(name, str | torch.device) and device.type in _DEVICES
    arguments.require("device", name, "auto, cpu, cuda or mps", holds=named)
    return device


def _count(device: torch.device) -> int:
    """How many devices of its kind the machine has."""
    return torch.cuda.device_count() if device.type == "cuda" else 1


def upload(array: Shaped[np.ndarray, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """An array as a tensor on `device`, sent as `sent` does."""
    return sent(torch.from_numpy(array), device)


def sent(tensor: Shaped[Tensor, "*shape"], device: torch.device) -> Shaped[Tensor, "*shape"]:
    """A tensor of the processor's memory on `device`.

    To a GPU it goes from pinned memory, and nothing waits for it: a copy from ordinary memory would
    stall until all that the GPU has been given before is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def machine(device: torch.device) -> str:
    """What a device is, for a reader: `cpu (AMD EPYC 7B13, 2 threads)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device} ({_processor()}, {threads} thread{'s' if threads > 1 else ''})"


def _processor() -> str:
    """The processor's name; on Linux the standard library knows its kind alone."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def seed_all(*parts: int) -> None:
    """Seeds torch's generators (initial weights, dropout) from all of `parts` together."""
    torch.manual_seed(int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1))
