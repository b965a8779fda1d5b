"""The moving average, against its formula one number at a time."""

import copy

import pytest
import torch
from torch.nn import Parameter

from cir.models.averaging import WeightAverage


def parameters() -> list[Parameter]:
    return [Parameter(torch.tensor([1.0, -2.0])), Parameter(torch.tensor([[3.0]]))]


def step(trained: list[Parameter], number: int) -> None:
    with torch.no_grad():
        for parameter in trained:
            parameter.mul_(1 + 0.1 * number)


@pytest.mark.parametrize("decay", [0.15, 0.5, 0.999])
def test_the_average_is_that_of_its_formula(decay):
    trained = parameters()
    average = WeightAverage(trained, decay)
    expected = trained[0][0].item()
    for number in range(1, 8):
        step(trained, number)
        average.update()
        kept = min(decay, (1 + number) / (10 + number))
        expected = kept * expected + (1 - kept) * trained[0][0].item()
    with average.in_place():
        assert trained[0][0].item() == pytest.approx(expected, rel=1e-5)


def test_the_weights_come_back_after_it_though_the_block_fails():
    trained = parameters()
    average = WeightAverage(trained, 0.9)
    step(trained, 1)
    average.update()
    step(trained, 2)
    before = [parameter.clone() for parameter in trained]
    with average.in_place():
        assert not torch.equal(trained[0], before[0])
    with pytest.raises(ZeroDivisionError), average.in_place():
        _ = 1 / 0
    assert all(map(torch.equal, trained, before))


def test_without_a_decay_the_weights_stand_for_themselves():
    trained = parameters()
    average = WeightAverage(trained, 0.0)
    step(trained, 1)
    average.update()
    now = trained[0].clone()
    with average.in_place():
        assert torch.equal(trained[0], now)
    assert average.state()["others"] == []


@pytest.mark.parametrize("in_place", [True, False])
def test_a_state_taken_up_goes_on_bit_for_bit(in_place):
    trained = parameters()
    average = WeightAverage(trained, 0.7)
    for number in range(5):
        step(trained, number)
        average.update()
    if in_place:
        with average.in_place():
            state = copy.deepcopy(average.state())
            saved = [parameter.detach().clone() for parameter in trained]
    else:
        state = copy.deepcopy(average.state())
        saved = [parameter.detach().clone() for parameter in trained]

    other = parameters()
    resumed = WeightAverage(other, 0.7)
    with torch.no_grad():
        for parameter, value in zip(other, saved, strict=True):
            parameter.copy_(value)
    resumed.load_state(state)
    for both in ((trained, average), (other, resumed)):
        step(both[0], 3)
        both[1].update()
    assert all(map(torch.equal, trained, other))
    with average.in_place(), resumed.in_place():
        assert all(map(torch.equal, trained, other))


def test_an_optimiser_goes_on_with_the_weights_and_not_the_average():
    straight, swapped = parameters(), parameters()
    averages = [WeightAverage(straight, 0.9), WeightAverage(swapped, 0.9)]
    optimisers = [torch.optim.AdamW(p, lr=0.1, fused=True) for p in (straight, swapped)]
    for _ in range(4):
        for trained, average, optimiser in zip(
            (straight, swapped), averages, optimisers, strict=True
        ):
            optimiser.zero_grad()
            sum(parameter.square().sum() for parameter in trained).backward()
            optimiser.step()
            average.update()
        with averages[1].in_place():
            pass
    assert all(map(torch.equal, straight, swapped))
