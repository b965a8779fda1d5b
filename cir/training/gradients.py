"""Gradients of several processes, added up while the backward pass goes on.

Parameters lie in buckets, in the order in which the backward pass reaches them. Once the gradients
of a bucket are whole, their sum over all processes begins, beside the rest of the pass (Li et al.,
PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020, section 3.2).

That is what DistributedDataParallel does, which does not serve here: it expects one forward and one
backward pass of one module, where a step encodes its chunks twice and has parameters beside its
modules; and it divides by the number of processes, where the parts of a batch are summed so that
the curve of losses is that of one process.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor
from torch.nn import Parameter

from cir.machine.processes import Processes
from cir.machine.runtime import sent

BUCKET_BYTES: Final = 25 << 20
"""Gradients that are added up at once; the size that DistributedDataParallel has."""


class SharedGradients:
    """Adds up the gradients of all processes, each of which has that of its part of a batch."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        processes: Processes,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        """Watches the parameters where there are several processes.

        Args:
            parameters: In the order of the forward pass, the same in all processes.
            processes: Those that train together.
            bucket_bytes: Size of a bucket.
        """
        self._processes = processes
        self._buckets = cut_in_buckets(reversed(parameters), bucket_bytes)
        self._begun: list[tuple[Tensor, Callable[[], None]]] = []
        self._reached: set[Parameter] = set()
        self._are_whole = False
        if processes.count > 1:
            for parameter in parameters:
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    self._reach
                )

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A backward pass after which the parameters that it reaches get no more gradient."""
        self._are_whole = True
        try:
            yield
        finally:
            self._are_whole = False

    def add_up(self) -> None:
        """Waits until every gradient is that of the whole batch."""
        if self._processes.count == 1:
            return
        while len(self._begun) < len(self._buckets):
            self._begin()
        for bucket, (total, wait) in zip(self._buckets, self._begun, strict=True):
            wait()
            _spread(total, bucket)
        self._begun, self._reached = [], set()

    def _reach(self, parameter: Parameter) -> None:
        """Begins each bucket that is complete, in the one order that all processes have."""
        if not self._are_whole:
            return
        self._reached.add(parameter)
        while len(self._begun) < len(self._buckets) and self._reached.issuperset(
            self._buckets[len(self._begun)]
        ):
            self._begin()

    def _begin(self) -> None:
        total = _laid_out(self._buckets[len(self._begun)])
        self._begun.append((total, self._processes.begin_sum(total)))


def cut_in_buckets(parameters: Iterable[Parameter], most_bytes: int) -> list[list[Parameter]]:
    """Cuts parameters, in their order, into buckets of at most some bytes, or of one parameter."""
    buckets: list[list[Parameter]] = []
    room = 0
    for parameter in parameters:
        if parameter.nbytes > room:
            buckets.append([])
            room = most_bytes
        buckets[-1].append(parameter)
        room -= parameter.nbytes
    return buckets


def _laid_out(bucket: Sequence[Parameter]) -> Tensor:
    """The gradients of a bucket, and for each whether there is one: zeros stand for none."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
    there = torch.tensor([p.grad is not None for p in bucket], dtype=grads[0].dtype)
    return torch.cat([*(grad.reshape(-1) for grad in grads), sent(there, grads[0].device)])


def _spread(total: Tensor, bucket: Sequence[Parameter]) -> None:
    """Makes the sums the gradients, also where this process's part of a batch moved nothing.

    A parameter that got no gradient in any process has none, as where one process trains. Only a
    process that lacks one waits to know.
    """
    *parts, there = torch.split(total, [*(p.numel() for p in bucket), len(bucket)])
    lacking = any(parameter.grad is None for parameter in bucket)
    anywhere = there.tolist() if lacking else [True] * len(bucket)
    for parameter, part, some in zip(bucket, parts, anywhere, strict=True):
        if some:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(part.view_as(parameter))
