"""The arithmetic of a precision: what is rounded to half precision, and what float32 means.

GPUs can compute float32 products and convolutions as TF32, which keeps 10 bits of a fraction's 23;
cuDNN does so for convolutions unless it is told not to. Here `fp32` means float32, `tf32` is a
precision of its own, and what autocast leaves in float32 under `bf16` and `fp16` is float32 too.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any, Final

import torch

from cir.errors import UsageError

_AUTOCAST: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TF32_SINCE: Final = (8, 0)
"""Compute capability of the first GPUs with TF32 (Ampere)."""


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Computes the block on `device` in `precision`: fp32, tf32, bf16 or fp16."""
    dtype = _AUTOCAST.get(precision)
    with float32(precision), torch.autocast(device.type, dtype) if dtype else nullcontext():
        yield


@contextmanager
def float32(precision: str = "fp32") -> Iterator[None]:
    """Computes float32 products and convolutions of the block as such, and as TF32 for tf32 alone.

    torch's switches are those of the whole process. Where blocks of several threads, or one inside
    another, want different ones, none gets less than float32 that asked for it.
    """
    _SWITCHES.enter(tf32=precision == "tf32")
    try:
        yield
    finally:
        _SWITCHES.leave(tf32=precision == "tf32")


def require_precision(precision: str, device: torch.device) -> None:
    """Requires that a device has a precision, and does not compute in another one instead.

    Raises:
        UsageError: it has no TF32.
    """
    if precision != "tf32":
        return
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _TF32_SINCE:
        raise UsageError(
            f"`precision='tf32'` is arithmetic of NVIDIA's GPUs since Ampere, not of {device}; "
            f"use fp32"
        )


class _Switches:
    """torch's switches of float32, and the blocks that they are set for.

    torch has older switches (`allow_tf32`) beside the newer ones (`fp32_precision`). Of the older
    ones it refuses to say their state while the newer ones differ from them; the newer ones can be
    read and set after either.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = {True: 0, False: 0}
        """Blocks under way, by whether TF32 will do."""
        self._before: list[str] = []
        self._now: list[str] = []

    def enter(self, *, tf32: bool) -> None:
        """Sets the switches for one more block."""
        with self._lock:
            if not any(self._inside.values()):
                self._now = self._before = [switch.fp32_precision for switch in _switches()]
            self._inside[tf32] += 1
            self._set()

    def leave(self, *, tf32: bool) -> None:
        """Sets the switches for the blocks that are left; the last one finds them as they were."""
        with self._lock:
            self._inside[tf32] -= 1
            self._set()

    def _set(self) -> None:
        if any(self._inside.values()):
            # Processors have no TF32; what they may have in its place (bfloat16) nobody asked for.
            on_gpu = "ieee" if self._inside[False] else "tf32"
            wanted = [on_gpu, on_gpu, on_gpu, "ieee", "ieee"]
        else:
            wanted = self._before
        if wanted == self._now:
            return
        self._now = wanted
        # cuDNN's older switch is on by default, and others may read it.
        torch.backends.cudnn.allow_tf32 = wanted[1] == "tf32"
        for switch, value in zip(_switches(), wanted, strict=True):
            switch.fp32_precision = value


def _switches() -> list[Any]:
    """Those of a GPU's products, convolutions and recurrent layers, and of a processor's."""
    backends: Any = torch.backends
    return [
        *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
        *(backends.mkldnn.matmul, backends.mkldnn.conv),
    ]


_SWITCHES: Final = _Switches()
