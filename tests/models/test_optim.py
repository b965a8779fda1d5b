"""Groups, schedule and moving average of the optimiser, against their definitions."""

import copy
import math
from itertools import pairwise

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import Parameter

from cir.encoding.clip.open_clip_models import build_clip
from cir.models.optim import (
    ParameterGroup,
    WeightAverage,
    build_optimiser,
    decay_groups,
    layerwise_groups,
    learning_rate_factor,
    set_learning_rates,
    trained_parameters,
)
from tests.support.micro import CONTEXT, micro_encoder

DECAY = 0.5
SMALL = {"context_length": CONTEXT, "width": 8, "heads": 2, "layers": 2}

# ------------------------------------------------------------------------------- moving average


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


# ------------------------------------------------------------------------------- groups


def test_matrices_decay_and_vectors_do_not():
    matrix, bias, scale = (Parameter(torch.ones(shape)) for shape in ((2, 2), (2,), ()))
    decayed, plain = decay_groups([bias, matrix, scale])
    assert decayed == {"params": [matrix]}
    assert plain["weight_decay"] == 0
    assert list(map(id, plain["params"])) == [id(bias), id(scale)]
    assert decay_groups([]) == []


def test_every_group_follows_the_schedule_from_its_own_peak():
    fast, slow = Parameter(torch.ones(2, 2)), Parameter(torch.ones(2))
    groups = [ParameterGroup([fast], 1e-2), ParameterGroup([], 1.0), ParameterGroup([slow], 1e-4)]
    optimiser = build_optimiser(groups, weight_decay=0.3)
    assert list(map(id, trained_parameters(optimiser))) == [id(fast), id(slow)]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]
    set_learning_rates(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25e-2, 0.25e-4]


# ------------------------------------------------------------------------------- layers


def scales(tower: dict[str, Parameter], decay: float = DECAY) -> dict[str, float]:
    """Each parameter's scale by name."""
    names = {id(parameter): name for name, parameter in tower.items()}
    groups = layerwise_groups(tower, 1.0, decay)
    found = [(names[id(p)], group.learning_rate) for group in groups for p in group.parameters]
    assert len(found) == len(tower)
    return dict(found)


def test_a_resnet_is_cut_into_stem_stages_and_pool():
    found = scales(micro_encoder(tower="resnet").image_parameters())
    for name, scale in found.items():
        part = name.split(".")[1]
        depth = {"conv": 0, "bn": 0, "layer": int(part[-1]) if part[-1].isdigit() else 0}
        expected = 5 if part == "attnpool" else depth[part.rstrip("1234")]
        assert scale == DECAY ** (5 - expected), name
    assert set(found.values()) == {DECAY**power for power in range(6)}


@pytest.mark.parametrize("custom_text", [False, True])
def test_transformers_are_cut_into_embeddings_blocks_and_projection(custom_text):
    clip = build_clip(
        {
            "embed_dim": 8,
            "custom_text": custom_text,
            "vision_cfg": {
                "image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 16
            },
            "text_cfg": SMALL,
        }
    )  # fmt: skip
    encoder = micro_encoder()
    encoder.clip = clip
    image = {n.removeprefix("visual."): s for n, s in scales(encoder.image_parameters()).items()}
    for name in ("conv1.weight", "class_embedding", "positional_embedding", "ln_pre.bias"):
        assert image.pop(name) == DECAY**4
    for name in ("ln_post.weight", "proj"):
        assert image.pop(name) == 1
    for block in range(3):
        assert image.pop(f"transformer.resblocks.{block}.ln_1.weight") == DECAY ** (3 - block)
    assert set(image.values()) == {1, DECAY, DECAY**2, DECAY**3, DECAY**4}
    text = {n.removeprefix("text."): s for n, s in scales(encoder.text_parameters()).items()}
    for name in ("token_embedding.weight", "positional_embedding"):
        assert text.pop(name) == DECAY**3
    for name in ("ln_final.weight", "ln_final.bias", "text_projection"):
        assert text.pop(name) == 1
    assert {scale for name, scale in text.items() if ".resblocks.0." in name} == {DECAY**2}
    assert {scale for name, scale in text.items() if ".resblocks.1." in name} == {DECAY}
    assert all(".resblocks." in name for name in text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "first", "last", "layers"),
    [
        ("RN50x4", "visual.conv1.weight", "visual.attnpool.positional_embedding", 6),
        ("ViT-B-32", "visual.conv1.weight", "visual.proj", 14),
        ("ViT-B-16-SigLIP", "visual.trunk.patch_embed.proj.weight",
         "visual.trunk.attn_pool.latent", 14),
        ("convnext_base", "visual.trunk.stem.0.weight", "visual.head.proj.weight", 6),
    ],
)  # fmt: skip
def test_published_image_towers_are_cut_from_input_to_output(model, first, last, layers):
    with torch.device("meta"):
        clip = build_clip(open_clip.get_model_config(model))
    tower = {n: p for n, p in clip.named_parameters() if n.startswith("visual.")}
    found = scales(tower)
    assert found[last] == max(found.values()) == 1
    assert found[first] == min(found.values()) == DECAY ** (layers - 1)
    assert len(set(found.values())) == layers


def test_one_rate_is_one_group():
    tower = micro_encoder().text_parameters()
    (group,) = layerwise_groups(tower, 3e-4, 1.0)
    assert group.learning_rate == 3e-4
    assert list(map(id, group.parameters)) == list(map(id, tower.values()))


# ------------------------------------------------------------------------------- schedule


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [learning_rate_factor(step / 1000) for step in range(1001)]
    peak = int(np.argmax(rates))
    assert rates[peak] == 1
    assert peak == 50
    assert rates[25] == pytest.approx(0.5)
    assert all(a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a > b for a, b in pairwise(rates[peak:]))
    assert math.isclose(rates[-1], 0, abs_tol=1e-12)


def test_a_constant_learning_rate_is_constant():
    assert {learning_rate_factor(step / 10, "constant") for step in range(11)} == {1.0}
