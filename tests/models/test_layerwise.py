"""Which layer a parameter belongs to, in the towers that open_clip builds."""

import open_clip
import pytest
import torch
from torch.nn import Parameter

from cir.encoding.encoder import build_clip
from cir.models.layerwise import layerwise_groups
from tests.support.micro import CONTEXT, micro_encoder

DECAY = 0.5
SMALL = {"context_length": CONTEXT, "width": 8, "heads": 2, "layers": 2}


def scales(tower: dict[str, Parameter], decay: float = DECAY) -> dict[str, float]:
    """Each parameter's scale by name."""
    names = {id(parameter): name for name, parameter in tower.items()}
    groups = layerwise_groups(tower, decay)
    found = [(names[id(p)], group.scale) for group in groups for p in group.parameters]
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
    (group,) = layerwise_groups(tower, 1.0)
    assert group.scale == 1
    assert list(map(id, group.parameters)) == list(map(id, tower.values()))
