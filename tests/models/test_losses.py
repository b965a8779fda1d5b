"""Losses and their gradients against plain loops."""

import math

import pytest
import torch

from cir.models.losses import ContrastCandidates, contrastive_loss, triplet_loss

PRESENT = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)


def units(*shape: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def cosine(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return sum(a * b for a, b in zip(x, y, strict=True))


def lost(excess: torch.Tensor, form: str) -> torch.Tensor:
    return torch.clamp(excess, min=0) if form == "hinge" else torch.log(1 + torch.exp(excess))


def plain_triplets(query, target, negatives, present, margin, form, reduction):
    """The loss and the excess of every triplet that counts, one at a time."""
    losses, excesses = [], []
    for q, t, row, here in zip(query, target, negatives, present, strict=True):
        own = [
            margin + (1 - cosine(q, t)) - (1 - cosine(q, c))
            for c, exists in zip(row, here, strict=True)
            if exists
        ]
        kept = sorted(own, key=torch.Tensor.item)[-1:] if reduction == "hardest" else own
        losses += [lost(excess, form) for excess in kept]
        excesses += [excess.item() for excess in kept]
    return losses, excesses


def plain_contrastive(query, groups, temperature):
    """The mean over a query's positives of -log of their softmax shares, one query at a time."""
    losses = []
    for i, q in enumerate(query):
        pulled, everything = [], 0.0
        for group in groups:
            vectors = group.vectors if group.vectors.ndim == 2 else group.vectors[i]
            for j, vector in enumerate(vectors):
                if group.excluded[i, j]:
                    continue
                weight = torch.exp(cosine(q, vector) / temperature)
                everything = everything + weight
                if group.positive is not None and group.positive[i, j]:
                    pulled.append(weight)
        losses.append(sum(-torch.log(weight / everything) for weight in pulled) / len(pulled))
    return losses


def plain_hard_contrastive(query, groups, temperature, beta):
    """Robinson et al., equation 4, with the mean over positives; one query at a time."""
    losses = []
    for i, q in enumerate(query):
        pulled, terms, weights = [], [], []
        for group in groups:
            vectors = group.vectors if group.vectors.ndim == 2 else group.vectors[i]
            for j, vector in enumerate(vectors):
                if group.excluded[i, j]:
                    continue
                term = torch.exp(cosine(q, vector) / temperature)
                if group.positive is not None and group.positive[i, j]:
                    pulled.append(term)
                else:
                    terms.append(term)
                    weights.append(math.exp(beta * cosine(q, vector).item() / temperature))
        mean = sum(weights) / max(len(weights), 1)
        pushed = sum(term * weight / mean for term, weight in zip(terms, weights, strict=True))
        everything = sum(pulled) + pushed
        losses.append(sum(-torch.log(term / everything) for term in pulled) / len(pulled))
    return losses


def batch_candidates(
    target: torch.Tensor, excluded: torch.Tensor | None = None
) -> ContrastCandidates:
    """Targets of a batch, each the positive of its own query."""
    own = torch.eye(len(target), dtype=torch.bool)
    return ContrastCandidates(target, torch.zeros_like(own) if excluded is None else excluded, own)


def require_same_gradients(found, expected, inputs) -> None:
    ours = torch.autograd.grad(found, inputs, retain_graph=True)
    plain = torch.autograd.grad(expected, inputs)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("reduction", ["mean", "hardest"])
@pytest.mark.parametrize("form", ["hinge", "softplus"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 2.0])
def test_triplet_is_the_plain_loop(margin, form, reduction):
    inputs = [units(4, 6, seed=1), units(4, 6, seed=2), units(4, 3, 6, seed=3)]
    for tensor in inputs:
        tensor.requires_grad_()
    found = triplet_loss(*inputs, PRESENT, margin, form, reduction)
    losses, excesses = plain_triplets(*inputs, PRESENT, margin, form, reduction)
    torch.testing.assert_close(found.summed, sum(losses))
    torch.testing.assert_close(found.mean, sum(losses) / len(losses))
    assert found.count.item() == len(losses) == (6 if reduction == "mean" else 3)
    assert found.active.item() == sum(excess > 0 for excess in excesses)
    require_same_gradients(found.mean, sum(losses) / len(losses), inputs)


@pytest.mark.parametrize("form", ["hinge", "softplus"])
def test_triplet_gradients_agree_with_differences(form):
    present = torch.tensor([[True, True], [True, False]])
    inputs = [units(2, 4, seed=4), units(2, 4, seed=5), units(2, 2, 4, seed=6)]

    def loss(query, target, negatives):
        return triplet_loss(query, target, negatives, present, 1.0, form).mean

    assert torch.autograd.gradcheck(loss, [t.requires_grad_() for t in inputs])


@pytest.mark.parametrize("reduction", ["mean", "hardest"])
@pytest.mark.parametrize("places", [0, 2])
def test_without_triplets_the_loss_is_zero_and_has_a_gradient(places, reduction):
    query = units(2, 4, seed=7).requires_grad_()
    absent = torch.zeros(2, places, dtype=torch.bool)
    negatives = torch.zeros(2, places, 4).double()
    found = triplet_loss(query, units(2, 4, seed=8), negatives, absent, 0.2, reduction=reduction)
    found.mean.backward()
    assert found.mean.item() == found.count.item() == found.active.item() == 0
    assert torch.equal(query.grad, torch.zeros(2, 4).double())


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_contrastive_is_the_plain_loop_over_every_group(temperature):
    query, target = units(5, 6, seed=9), units(5, 6, seed=10)
    negatives, bank = units(5, 3, 6, seed=15), units(7, 6, seed=16)
    inputs = [tensor.requires_grad_() for tensor in (query, target, negatives, bank)]
    excluded = torch.zeros(5, 5, dtype=torch.bool)
    excluded[0, 1] = excluded[3, 0] = excluded[3, 4] = True
    absent = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.4
    known = torch.rand(5, 7, generator=torch.Generator().manual_seed(2)) < 0.2
    groups = [
        batch_candidates(target, excluded),
        ContrastCandidates(negatives, absent),
        ContrastCandidates(bank, torch.zeros(5, 7, dtype=torch.bool), known),
    ]
    assert known.any()
    found = contrastive_loss(query, groups, temperature)
    losses = plain_contrastive(query, groups, temperature)
    torch.testing.assert_close(found.mean, sum(losses) / len(losses))
    assert found.count.item() == 5
    require_same_gradients(found.mean, sum(losses) / len(losses), inputs)


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_harder_negatives_count_as_in_the_plain_loop(beta):
    query, target, bank = units(5, 6, seed=9), units(5, 6, seed=10), units(7, 6, seed=16)
    inputs = [tensor.requires_grad_() for tensor in (query, target, bank)]
    excluded = torch.zeros(5, 5, dtype=torch.bool)
    excluded[2] = torch.arange(5) != 2
    known = torch.rand(5, 7, generator=torch.Generator().manual_seed(2)) < 0.2
    outside = torch.zeros(5, 7, dtype=torch.bool)
    outside[2] = True
    known[2] = False
    groups = [batch_candidates(target, excluded), ContrastCandidates(bank, outside, known)]
    found = contrastive_loss(query, groups, 0.3, hardness=beta)
    losses = plain_hard_contrastive(query, groups, 0.3, beta)
    torch.testing.assert_close(found.mean, sum(losses) / len(losses))
    assert losses[2].item() == pytest.approx(0, abs=1e-12), "a query without a negative"
    require_same_gradients(found.mean, sum(losses) / len(losses), inputs)


def test_without_hardness_all_negatives_count_the_same():
    query, target = units(5, 6, seed=9), units(5, 6, seed=10)
    plain, mild = (
        contrastive_loss(query, [batch_candidates(target)], 0.3, hardness=beta).mean
        for beta in (0.0, 1e-12)
    )
    torch.testing.assert_close(plain, mild)


@pytest.mark.parametrize("reduction", ["mean", "hardest"])
def test_weights_of_queries_weigh_both_terms(reduction):
    query, target, negatives = (units(4, 6, seed=1), units(4, 6, seed=2), units(4, 3, 6, seed=3))
    weights = torch.tensor([1.0, 0.25, 0.5, 0.0], dtype=torch.float64)
    found = triplet_loss(
        query, target, negatives, PRESENT, 1.0, reduction=reduction, weights=weights
    )
    summed = count = active = 0.0
    for i, weight in enumerate(weights.tolist()):
        row = slice(i, i + 1)
        own = triplet_loss(
            query[row], target[row], negatives[row], PRESENT[row], 1.0, reduction=reduction
        )
        summed, count = summed + weight * own.summed, count + weight * own.count
        active += weight * own.active.item()
    torch.testing.assert_close(found.mean, summed / count)
    assert found.active.item() == pytest.approx(active)
    groups = [batch_candidates(target)]
    losses = plain_contrastive(query, groups, 0.3)
    expected = sum(w * lost for w, lost in zip(weights, losses, strict=True)) / weights.sum()
    torch.testing.assert_close(contrastive_loss(query, groups, 0.3, weights=weights).mean, expected)


def test_contrastive_gradients_agree_with_differences():
    excluded = torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
    absent = torch.tensor([[False, True], [False, False], [True, True]])

    def loss(query, target, negatives, temperature):
        candidates = [batch_candidates(target, excluded), ContrastCandidates(negatives, absent)]
        return contrastive_loss(query, candidates, temperature).mean

    inputs = [units(3, 4, seed=11), units(3, 4, seed=12), units(3, 2, 4, seed=13)]
    temperature = torch.tensor(0.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(loss, [t.requires_grad_() for t in (*inputs, temperature)])


def test_an_excluded_target_gets_no_gradient_from_that_query():
    query, target = units(2, 4, seed=13), units(2, 4, seed=14).requires_grad_()
    excluded = torch.tensor([[False, True], [True, False]])
    loss = contrastive_loss(query, [batch_candidates(target, excluded)], 0.05).mean
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(target.grad, torch.zeros_like(target))


def test_a_perfect_batch_loses_what_the_temperature_says():
    eye = torch.eye(3)
    loss = contrastive_loss(eye, [batch_candidates(eye)], 0.5).mean
    assert loss.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))
