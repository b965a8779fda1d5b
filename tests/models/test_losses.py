"""Losses and their gradients against plain loops."""

import math

import pytest
import torch

from cir.models.losses import contrastive_loss, triplet_loss


def units(*shape: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def cosine(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return sum(a * b for a, b in zip(x, y, strict=True))


def plain_triplet(query, target, negatives, present, margin):
    """max(0, m + d(q, t) - d(q, c)), one triplet at a time."""
    losses = [
        torch.clamp(margin + (1 - cosine(q, t)) - (1 - cosine(q, c)), min=0)
        for q, t, row, here in zip(query, target, negatives, present, strict=True)
        for c, exists in zip(row, here, strict=True)
        if exists
    ]
    active = sum(loss.item() > 0 for loss in losses)
    return sum(losses) / len(losses), active / len(losses)


def plain_contrastive(query, target, ignored, temperature):
    """-log of the softmax share of each query's own target, one query at a time."""
    losses = []
    for i in range(len(query)):
        weights = {
            j: torch.exp(cosine(query[i], target[j]) / temperature)
            for j in range(len(target))
            if not ignored[i, j]
        }
        losses.append(-torch.log(weights[i] / sum(weights.values())))
    return sum(losses) / len(losses)


def gradients(loss: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0, 2.0])
def test_triplet_is_the_plain_loop(margin):
    inputs = [units(4, 6, seed=1), units(4, 6, seed=2), units(4, 3, 6, seed=3)]
    present = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    for tensor in inputs:
        tensor.requires_grad_()
    found = triplet_loss(*inputs, present, margin)
    expected, active = plain_triplet(*inputs, present, margin)
    torch.testing.assert_close(found.loss, expected)
    assert found.active_share.item() == pytest.approx(active)
    for ours, plain in zip(
        gradients(found.loss, *inputs), gradients(expected, *inputs), strict=True
    ):
        torch.testing.assert_close(ours, plain)


def test_triplet_gradients_agree_with_differences():
    present = torch.tensor([[True, True], [True, False]])
    inputs = [units(2, 4, seed=4), units(2, 4, seed=5), units(2, 2, 4, seed=6)]

    def loss(query, target, negatives):
        return triplet_loss(query, target, negatives, present, 1.0).loss

    assert torch.autograd.gradcheck(loss, [t.requires_grad_() for t in inputs])


def test_without_triplets_the_loss_is_zero_and_has_a_gradient():
    query = units(2, 4, seed=7).requires_grad_()
    absent = torch.zeros(2, 0, dtype=torch.bool)
    found = triplet_loss(query, units(2, 4, seed=8), torch.zeros(2, 0, 4).double(), absent, 0.2)
    found.loss.backward()
    assert found.loss.item() == 0
    assert found.active_share.item() == 0
    assert torch.equal(query.grad, torch.zeros(2, 4).double())


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_contrastive_is_the_plain_loop(temperature):
    inputs = [units(5, 6, seed=9).requires_grad_(), units(5, 6, seed=10).requires_grad_()]
    ignored = torch.zeros(5, 5, dtype=torch.bool)
    ignored[0, 1] = ignored[3, 0] = ignored[3, 4] = True
    found = contrastive_loss(*inputs, ignored, temperature)
    expected = plain_contrastive(*inputs, ignored, temperature)
    torch.testing.assert_close(found, expected)
    for ours, plain in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(ours, plain)


def test_contrastive_gradients_agree_with_differences():
    ignored = torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)

    def loss(query, target):
        return contrastive_loss(query, target, ignored, 0.5)

    inputs = [units(3, 4, seed=11).requires_grad_(), units(3, 4, seed=12).requires_grad_()]
    assert torch.autograd.gradcheck(loss, inputs)


def test_an_ignored_target_gets_no_gradient_from_that_query():
    query, target = units(2, 4, seed=13), units(2, 4, seed=14).requires_grad_()
    ignored = torch.tensor([[False, True], [True, False]])
    loss = contrastive_loss(query, target, ignored, 0.05)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(target.grad, torch.zeros_like(target))


def test_a_perfect_batch_loses_what_the_temperature_says():
    eye = torch.eye(3)
    loss = contrastive_loss(eye, eye, torch.zeros(3, 3, dtype=torch.bool), 0.5)
    assert loss.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))
