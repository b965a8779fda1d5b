"""Gradients of several processes, added up bucket by bucket beside the backward pass."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cir.machine.processes import Processes
from cir.training.gradients import SharedGradients, cut_in_buckets

LAYERS, WIDTH = 4, 3


class Doubling(Processes):
    """One of two processes, of which the other has the same gradients."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.begun: list[int] = []
        """Numbers in each sum that has begun: gradients, and whether there is one of each."""

    def begin_sum(self, tensor: Tensor) -> Callable[[], None]:
        self.begun.append(len(tensor))

        def wait() -> None:
            tensor.mul_(2)

        return wait


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))


def passed(model: nn.Sequential) -> None:
    model(torch.ones(2, WIDTH)).square().sum().backward()


def gradients(model: nn.Sequential) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_sums_begin_while_the_pass_goes_on(model: nn.Sequential) -> None:
    passed(model)
    own = gradients(model)
    model.zero_grad()
    processes, seen = Doubling(), []
    shared = SharedGradients(list(model.parameters()), processes, bucket_bytes=8 * WIDTH**2)
    model[0].weight.register_hook(lambda _: seen.append(len(processes.begun)))
    for _ in range(2):
        with shared.whole():
            passed(model)
        shared.add_up()
        torch.testing.assert_close(gradients(model), [2 * gradient for gradient in own])
        model.zero_grad()
    halves = LAYERS // 2
    assert processes.begun == [2 * WIDTH**2 + 2] * 2 * halves
    assert seen == [halves - 1, 2 * halves - 1]


def test_a_pass_that_others_follow_begins_nothing(model: nn.Sequential) -> None:
    processes = Doubling()
    shared = SharedGradients(list(model.parameters()), processes)
    passed(model)
    assert processes.begun == []
    with shared.whole():
        passed(model)
    assert processes.begun == [LAYERS * (WIDTH**2 + 1)]
    added = [2 * gradient for gradient in gradients(model)]
    shared.add_up()
    torch.testing.assert_close(gradients(model), added)


def test_buckets_begin_in_one_order_however_the_pass_reaches_them(model: nn.Sequential) -> None:
    processes = Doubling()
    other = nn.Linear(WIDTH, 1, bias=False)
    parameters = [*model.parameters(), *other.parameters()]
    shared = SharedGradients(parameters, processes, bucket_bytes=1)
    with shared.whole():
        passed(model)
    assert processes.begun == []  # that of `other` comes first
    shared.add_up()
    assert processes.begun == [WIDTH + 1, *[WIDTH**2 + 1] * LAYERS]
    assert other.weight.grad is None


class Lending(Processes):
    """One of two processes, of which the other has ones for gradients of some parameters."""

    def __init__(self, lent: list[Tensor]) -> None:
        super().__init__(0, 2)
        self.lent = lent

    def begin_sum(self, tensor: Tensor) -> Callable[[], None]:
        tensor.add_(self.lent.pop(0))
        return lambda: None


def test_a_process_whose_part_moves_nothing_learns_what_the_others_do() -> None:
    first, second, third = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    third.grad = torch.full((2,), 5.0)
    # The sums begin from the last parameter on; the other process moved the last two.
    processes = Lending([torch.tensor([1.0, 1, 1]), torch.tensor([1.0, 1, 1]), torch.zeros(3)])
    SharedGradients([first, second, third], processes, bucket_bytes=1).add_up()
    assert third.grad.tolist() == [6, 6]
    assert second.grad is not None
    assert second.grad.tolist() == [1, 1]
    assert first.grad is None


def test_a_large_parameter_has_a_bucket_of_its_own() -> None:
    sizes = [1, 2, 9, 3, 1, 1]
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    cut = cut_in_buckets(parameters, 4 * torch.float32.itemsize)
    assert [[len(p) for p in bucket] for bucket in cut] == [[1, 2], [9], [3, 1], [1]]
