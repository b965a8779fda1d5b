"""Combiners against their equations, one query at a time."""

import math

import numpy as np
import pytest
import torch

from cir.errors import UsageError
from cir.models.combiner import (
    AttentionFusionCombiner,
    Clip4CirCombiner,
    GatedSumCombiner,
    ReferenceOnly,
    SumCombiner,
    TextOnly,
    build_combiner,
)
from cir.models.dropout import Dropout

DIM = 12
COMBINERS = {
    "gated-sum": GatedSumCombiner(dim=DIM, hidden=7),
    "attention-fusion": AttentionFusionCombiner(dim=DIM, hidden=7),
    "clip4cir": Clip4CirCombiner(dim=DIM, projection=9, hidden=10),
    "sum": SumCombiner(),
    "reference": ReferenceOnly(),
    "text": TextOnly(),
}


def features(seed: int, rows: int = 5, length: float = 1.0) -> torch.Tensor:
    return length * torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def layer(module: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    return module.weight.detach().numpy() @ x + module.bias.detach().numpy()


def unit_rows(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def departed() -> GatedSumCombiner:
    """A gated sum that is no longer the plain one."""
    combiner = GatedSumCombiner(dim=DIM, hidden=7, dropout=0.3)
    for part in combiner.parameters():
        torch.nn.init.normal_(part, std=0.3, generator=torch.Generator().manual_seed(part.numel()))
    return combiner


@pytest.mark.parametrize("name", COMBINERS)
def test_gives_unit_vectors_of_the_same_shape(name):
    query = COMBINERS[name].eval()(features(0), features(1))
    assert query.shape == (5, DIM)
    torch.testing.assert_close(query.norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize("name", COMBINERS)
def test_only_directions_of_the_features_count(name):
    combiner = COMBINERS[name].eval()
    short = combiner(features(0), features(1))
    torch.testing.assert_close(short, combiner(features(0, length=30.0), features(1, length=0.01)))


@pytest.mark.parametrize("name", COMBINERS)
def test_rows_do_not_touch_each_other(name):
    combiner = COMBINERS[name].eval()
    together = combiner(features(0), features(1))
    alone = combiner(features(0)[2:3], features(1)[2:3])
    torch.testing.assert_close(together[2:3], alone)


def test_attention_fusion_is_its_equations():
    combiner = COMBINERS["attention-fusion"]
    image, text = features(0), features(1)
    found = combiner(image, text).detach().numpy()
    for row in range(len(image)):
        x, y = (np.sqrt(DIM) * unit(side[row].numpy()) for side in (image, text))
        p = np.maximum(layer(combiner.project_image, x), 0)
        r = np.maximum(layer(combiner.project_text, y), 0)
        gate = sigmoid(layer(combiner.gate, np.concatenate([p, r])))
        fused = gate * p + (1 - gate) * r
        expected = unit(layer(combiner.output, np.concatenate([fused, p, r])))
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_gated_sum_is_its_equations(departed):
    image, text = features(0), features(1)
    found = departed.eval()(image, text).detach().numpy()
    for row in range(len(image)):
        x, y = (np.sqrt(DIM) * unit(side[row].numpy()) for side in (image, text))
        mixed = layer(departed.mix, np.concatenate([x, y]))
        centred = (mixed - mixed.mean()) / np.sqrt(mixed.var() + 1e-5)
        scaled = centred * departed.norm.weight.detach().numpy()
        h = np.array([gelu(value) for value in scaled + departed.norm.bias.detach().numpy()])
        a, b, c = np.split(layer(departed.depart, h), 3)
        expected = unit((1 + a) * x + (1 + b) * y + c)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_gated_sum_starts_as_the_plain_sum_even_with_dropout(training):
    combiner = GatedSumCombiner(dim=DIM, hidden=7, dropout=0.5).train(training)
    image, text = features(0), features(1)
    torch.testing.assert_close(combiner(image, text), SumCombiner()(image, text))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_gated_sum_starts_as_the_weighted_sum(share):
    image, text = features(0), features(1)
    gated = GatedSumCombiner(dim=DIM, hidden=7, text_share=share)
    torch.testing.assert_close(gated(image, text), SumCombiner(share)(image, text))


def test_the_weighted_sum_is_its_equation():
    image, text = features(0), features(1, length=3.0)
    expected = unit_rows(0.25 * unit_rows(image) + 0.75 * unit_rows(text))
    torch.testing.assert_close(SumCombiner(0.75)(image, text), expected)
    torch.testing.assert_close(SumCombiner(0.0)(image, text), ReferenceOnly()(image, text))
    torch.testing.assert_close(SumCombiner(1.0)(image, text), TextOnly()(image, text))


@pytest.mark.parametrize("make", [SumCombiner, lambda share: GatedSumCombiner(text_share=share)])
def test_a_share_of_the_text_is_a_share(make):
    with pytest.raises(UsageError, match=r"`text_share` is 1\.5; expected 0 to 1"):
        make(1.5)


def test_gated_sum_learns_from_its_zeros():
    torch.manual_seed(0)
    combiner = GatedSumCombiner(dim=DIM, hidden=7)
    image, text, target = features(0), features(1), unit_rows(features(2))
    optimiser = torch.optim.Adam(combiner.parameters(), lr=0.05)
    cosines = []
    for _ in range(50):
        cosine = (combiner(image, text) * target).sum(-1).mean()
        cosines.append(cosine.item())
        optimiser.zero_grad()
        (-cosine).backward()
        optimiser.step()
    assert cosines[0] < 0.5
    assert cosines[-1] > 0.95
    assert all(part.grad.abs().sum() > 0 for part in combiner.parameters())


def test_clip4cir_is_its_equations():
    combiner = COMBINERS["clip4cir"].eval()
    image, text = features(0), features(1)
    found = combiner(image, text).detach().numpy()
    for row in range(len(image)):
        x, y = (np.sqrt(DIM) * unit(side[row].numpy()) for side in (image, text))
        p = np.maximum(layer(combiner.project_image[0], x), 0)
        r = np.maximum(layer(combiner.project_text[0], y), 0)
        both = np.concatenate([r, p])
        hidden = np.maximum(layer(combiner.share_of_text[0][0], both), 0)
        share = sigmoid(layer(combiner.share_of_text[1], hidden))
        mixed = layer(combiner.output, np.maximum(layer(combiner.mix[0], both), 0))
        expected = unit(mixed + share * y + (1 - share) * x)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["clip4cir", "gated-sum"])
def test_dropout_acts_while_training_only(name, departed):
    clip4cir = Clip4CirCombiner(dim=DIM, projection=9, hidden=10)
    combiner = {"clip4cir": clip4cir, "gated-sum": departed}[name]
    image, text = features(0), features(1)
    assert not torch.equal(combiner.train()(image, text), combiner(image, text))
    assert torch.equal(combiner.eval()(image, text), combiner(image, text))


def test_dropout_is_no_part_of_the_weights():
    with_it = build_combiner("gated-sum", dim=DIM, hidden=7, dropout=0.5)
    without = build_combiner("gated-sum", dim=DIM, hidden=7)
    without.load_state_dict(with_it.state_dict())
    assert with_it.dropout.p == 0.5
    assert without.dropout.p == 0.0


def test_baselines():
    image, text = features(0), features(1)
    x, y = (torch.nn.functional.normalize(side, dim=-1) for side in (image, text))
    torch.testing.assert_close(ReferenceOnly()(image, text), x)
    torch.testing.assert_close(TextOnly()(image, text), y)
    both = torch.nn.functional.normalize(x + y, dim=-1)
    torch.testing.assert_close(SumCombiner()(image, text), both)


@pytest.mark.parametrize(
    ("name", "kind", "parameters"),
    [
        ("gated-sum", GatedSumCombiner, 1_641_856),
        ("attention-fusion", AttentionFusionCombiner, 2_164_864),
        ("clip4cir", Clip4CirCombiner, 59_003_521),
        ("sum", SumCombiner, 0),
    ],
)
def test_built_by_name_at_the_published_widths(name, kind, parameters):
    with torch.device("meta"):
        combiner = build_combiner(name, dim=640)
    assert isinstance(combiner, kind)
    assert sum(p.numel() for p in combiner.parameters()) == parameters


@pytest.mark.parametrize(
    ("asked", "projection", "hidden"),
    [
        ({}, 20, 40),
        ({"projection": 3}, 3, 40),
        ({"hidden": 6}, 20, 6),
        ({"projection": 3, "hidden": 6}, 3, 6),
    ],
)
def test_clip4cir_is_as_wide_as_asked(asked, projection, hidden):
    combiner = build_combiner("clip4cir", dim=5, **asked)
    shapes = {name: tuple(weight.shape) for name, weight in combiner.named_parameters()}
    assert shapes["project_text.0.weight"] == shapes["project_image.0.weight"] == (projection, 5)
    assert shapes["mix.0.weight"] == shapes["share_of_text.0.0.weight"] == (hidden, 2 * projection)
    assert shapes["output.weight"] == (5, hidden)
    assert (combiner.projection, combiner.hidden) == (projection, hidden)


@pytest.mark.parametrize("name", ["attention-fusion", "clip4cir", "gated-sum"])
def test_widths_begin_at_one(name):
    one = torch.ones(2, 1)
    assert build_combiner(name, dim=1, hidden=1)(one, one).shape == (2, 1)
    with pytest.raises(UsageError, match="`dim` is 0; expected a whole number, at least 1"):
        build_combiner(name, dim=0, hidden=1)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(
        UsageError, match=r"`name` is 'mlp'; .*gated-sum, attention-fusion, clip4cir, sum"
    ):
        build_combiner("mlp", dim=4, hidden=4)


WRONG_WIDTHS = [{name: value} for name in ("dim", "hidden") for value in (0, -1)]
WRONG_SHARES = [{"dropout": value} for value in (1.0, -0.1, float("nan"))]


@pytest.mark.parametrize("wrong", [*WRONG_WIDTHS, *WRONG_SHARES])
def test_impossible_widths_are_refused(wrong):
    (field,) = wrong
    with pytest.raises(UsageError, match=f"`{field}` is .*; expected"):
        build_combiner(**{"name": "gated-sum", "dim": 4, "hidden": 4} | wrong)


@pytest.mark.parametrize("kind", [GatedSumCombiner, AttentionFusionCombiner, Clip4CirCombiner])
@pytest.mark.parametrize("wrong", [{"dim": 0}, {"hidden": 0}])
def test_each_combiner_refuses_impossible_widths(kind, wrong):
    (field,) = wrong
    with pytest.raises(UsageError, match=f"`{field}` is .*; expected a whole number"):
        kind(**wrong)


def test_gated_sum_drops_features_and_what_they_say_together(departed):
    """x and y side by side, then h; the sum itself is never dropped."""
    widths = []
    departed.dropout.register_forward_hook(lambda _, inputs, __: widths.append(inputs[0].shape[-1]))
    departed(features(0), features(1))
    assert widths == [2 * DIM, 7]


def test_clip4cir_drops_half_after_each_relu():
    combiner = COMBINERS["clip4cir"]
    shares = [module.p for module in combiner.modules() if isinstance(module, Dropout)]
    assert shares == [0.5] * 4


@pytest.mark.parametrize("name", COMBINERS)
def test_queries_are_float32_unit_vectors_whatever_the_features_are(name):
    combiner = COMBINERS[name].eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        query = combiner(features(0).bfloat16(), features(1).bfloat16())
    assert query.dtype == torch.float32
    torch.testing.assert_close(query.norm(dim=-1), torch.ones(5))
