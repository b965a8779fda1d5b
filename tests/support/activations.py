"""How many bytes of activations a graph keeps for its way back."""

import weakref
from types import TracebackType

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Activations:
    """Counts, inside its block, the bytes that graphs keep alive, and their peak."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self._hooks = saved_tensors_hooks(self._keep, lambda kept: kept.tensor)

    def __enter__(self) -> "Activations":
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, fault, trace)

    def _keep(self, tensor: Tensor) -> "_Kept":
        kept, size = _Kept(tensor), 0
        if not isinstance(tensor, torch.nn.Parameter):
            size = tensor.numel() * tensor.element_size()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(kept, self._let_go, size)
        return kept

    def _let_go(self, size: int) -> None:
        self.now -= size


class _Kept:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
