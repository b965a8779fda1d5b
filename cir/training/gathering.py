"""Tensors of a batch that several processes hold a part of each."""

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
    from torch.distributed.nn.functional import all_gather

    most = -(-total // processes.count)
    padded = torch.cat([own, own.new_zeros(most - len(own), own.shape[1])])
    parts: tuple[Tensor, ...] = all_gather(padded)  # type: ignore[no-untyped-call]
    sizes = [_rows(total, rank, processes.count) for rank in range(processes.count)]
    return torch.cat([part[:rows] for part, rows in zip(parts, sizes, strict=True)])


def summed(own: Tensor, processes: Processes) -> Tensor:
    """The sum of a tensor over all processes, without gradients."""
    total = own.detach().clone()
    if processes.count > 1:
        import torch.distributed as dist

        dist.all_reduce(total)
    return total


def _rows(total: int, rank: int, count: int) -> int:
    return len(range(total)[Processes(rank, count).part(total)])
