"""Activation checkpointing: the same vectors and gradients from less memory."""

import pytest
import torch
from open_clip.hf_model import HFTextEncoder
from torch import nn

from cir.encoding.clip.activation_memory import checkpoint_activations
from cir.encoding.clip.open_clip_models import build_clip
from cir.errors import UsageError
from tests.support.activations import Activations
from tests.support.micro import CONTEXT, micro_encoder

TEXT = {"context_length": CONTEXT, "width": 8, "heads": 2, "layers": 4}
VISION = {
    "resnet": {"image_size": 32, "layers": [2, 1, 2, 1], "width": 8},
    "vit": {"image_size": 32, "layers": 4, "width": 16, "head_width": 8, "patch_size": 8},
    "timm": {
        "image_size": 32, "timm_model_name": "test_vit", "timm_model_pretrained": False,
        "timm_pool": "token", "timm_proj": "linear",
    },
}  # fmt: skip


def clip_of(tower: str) -> nn.Module:
    torch.manual_seed(0)
    custom = {"custom_text": tower == "timm"}
    clip = build_clip({"embed_dim": 32, "vision_cfg": VISION[tower], "text_cfg": TEXT, **custom})
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return clip.eval()


def walked(clip: nn.Module) -> tuple[torch.Tensor, torch.Tensor, int, dict[str, torch.Tensor]]:
    """Both towers' vectors, the peak of what their graphs keep, and the gradients."""
    encoder = micro_encoder()
    encoder.clip = clip
    generator = torch.Generator().manual_seed(2)
    with Activations() as kept:
        images = encoder.encode_images(torch.rand(8, 3, 32, 32, generator=generator))
        texts = encoder.encode_texts(encoder.tokenize([f"is {number}" for number in range(8)]))
        (images @ texts.T).square().sum().backward()
    named = clip.named_parameters()
    return images, texts, kept.peak, {n: p.grad for n, p in named if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("tower", VISION)
def test_less_is_kept_for_the_same_gradient(tower):
    images, texts, whole, expected = walked(clip_of(tower))
    clip = clip_of(tower)
    checkpoint_activations(clip)
    names = set(clip.state_dict())
    found_images, found_texts, less, found = walked(clip)
    assert torch.equal(found_images, images)
    assert torch.equal(found_texts, texts)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert less < 0.6 * whole
    assert names == set(clip_of(tower).state_dict())


@pytest.mark.parametrize("tower", VISION)
def test_vectors_without_gradients_are_the_same(tower):
    plain, clip = clip_of(tower), clip_of(tower)
    checkpoint_activations(clip)
    pixels = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(clip.encode_image(pixels), plain.encode_image(pixels))


def test_a_trunk_that_cannot_is_refused(monkeypatch):
    clip = clip_of("timm")

    def cannot(enable: bool = True) -> None:
        assert not enable, "gradient checkpointing not supported"

    monkeypatch.setattr(clip.visual.trunk, "set_grad_checkpointing", cannot)
    with pytest.raises(UsageError, match=r"cannot checkpoint activations.*`encode_batch`"):
        checkpoint_activations(clip)


def test_a_hugging_face_text_tower_is_refused():
    clip = clip_of("vit")
    clip.text = HFTextEncoder.__new__(HFTextEncoder)
    with pytest.raises(UsageError, match=r"Hugging Face's text towers keep their activations"):
        checkpoint_activations(clip)
