"""Tensors of a batch that several processes hold a part of each."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cir.processes import Processes


def gathered(own: Float[Tensor, "part dim"], total: int, processes: Processes) -> Tensor:
    """The rows of all processes, in the order of their parts; gradients find their way back.

    Args:
        own: This process's rows: `processes.part(total)` of them.
        total: Rows of all processes.
        processes: Those that hold a part each.
    """
    if processes.count == 1:
        return own
    whole: Tensor = _Gathered.apply(own, total, processes)
    return whole


def summed(own: Tensor, processes: Processes) -> Tensor:
    """The sum of a tensor over all processes, without gradients."""
    total = own.detach().clone()
    if processes.count > 1:
        import torch.distributed as dist

        dist.all_reduce(total)
    return total


class _Gathered(torch.autograd.Function):
    """Each process's rows among zeros, summed; each row's gradient is summed likewise."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, total: int, processes: Processes) -> Tensor:
        ctx.part, ctx.processes = processes.part(total), processes
        placed = own.new_zeros(total, own.shape[1])
        placed[ctx.part] = own
        return summed(placed, processes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return summed(gradients[0], ctx.processes)[ctx.part], None, None
