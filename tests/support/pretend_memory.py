"""Memory that exists nowhere: so many bytes a GPU, of which tuned towers take some an input."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest
import torch
from torch import Tensor

from cir.encoding.encoder import Encoder
from cir.machine import memory

MIB: Final = 2**20
TOWERS: Final = ("encode_images", "encode_texts")


class PretendMemory:
    """While it is in place, an encoder that keeps activations beyond `free` bytes is out of it."""

    def __init__(self, free: int, each: Mapping[str, int], fixed: int = 0) -> None:
        """Measures nothing yet.

        Args:
            free: Bytes that can be allocated.
            each: Bytes of the activations of one input, by the encoder's method.
            fixed: Bytes beside those of the inputs.
        """
        self._free, self._each, self._fixed = free, each, fixed
        self._peak = 0

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda device: self._free)
        monkeypatch.setattr(memory, "peak_bytes", self._peak_of)
        for name in TOWERS:
            monkeypatch.setattr(Encoder, name, self._counted(name, getattr(Encoder, name)))

    def _peak_of(self, device: torch.device, work: Callable[[], object]) -> int:
        self._peak = 0
        work()
        return self._peak

    def _counted(
        self, name: str, encode: Callable[[Encoder, Tensor], Tensor]
    ) -> Callable[[Encoder, Tensor], Tensor]:
        def counted(encoder: Encoder, inputs: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                taken = self._fixed + len(inputs) * self._each[name]
                self._peak = max(self._peak, taken)
                if taken > self._free:
                    raise torch.OutOfMemoryError(
                        f"CUDA out of memory. Tried to allocate {taken / 2**30:.2f} GiB."
                    )
            return encode(encoder, inputs)

        return counted
