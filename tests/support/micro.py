"""Encoders small enough to build and run in milliseconds, with random weights."""

from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from cir.artefacts.provenance import Provenance
from cir.encoding.clip.image_tower import ModifiedResNet
from cir.encoding.clip.model import Clip
from cir.encoding.clip.tokens import BytePairTokenizer
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import build_preprocess
from cir.encoding.weights.colours import OPENAI_COLOURS
from cir.encoding.weights.files import weights_sha256

CONTEXT = 16
TEXT: dict[str, Any] = {"width": 8, "heads": 2, "layers": 1}


def micro_encoder(
    dim: int = 32,
    image_size: int = 32,
    tower: Literal["resnet", "vit"] = "resnet",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Encoder:
    """An encoder in eval mode; the resnet has BatchNorm, the vit has none."""
    clip = micro_clip(dim, image_size, tower, seed)
    return Encoder(
        clip,
        provenance=Provenance(
            model=f"micro-{tower}",
            pretrained="random",
            weights_sha256=weights_sha256(clip.state_dict()),
            preprocess="targetpad",
            embed_dim=dim,
        ),
        preprocess=build_preprocess(
            "targetpad", image_size, OPENAI_COLOURS.mean, OPENAI_COLOURS.std
        ),
        tokenizer=_tokenizer(),
        image_size=image_size,
        device=torch.device(device),
        precision="fp32",
    )


@cache
def _tokenizer() -> BytePairTokenizer:
    """Read once: its vocabulary takes longer to read than a model to build."""
    return BytePairTokenizer(CONTEXT)


def micro_clip(dim: int, image_size: int, tower: str, seed: int) -> nn.Module:
    """The module alone, in eval mode: that of the bundled encoder, or open_clip's with a ViT."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (_resnet if tower == "resnet" else _vit)(dim, image_size).eval()


def _resnet(dim: int, image_size: int) -> Clip:
    visual = ModifiedResNet(
        dim=dim, image_size=image_size, layers=(1, 1, 1, 1), width=4, head_width=64
    )
    return Clip(visual, dim=dim, context=CONTEXT, vocabulary=49408, **TEXT)


def _vit(dim: int, image_size: int) -> nn.Module:
    from open_clip import CLIP  # loads for seconds

    vision = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    return CLIP(dim, {"image_size": image_size, **vision}, {"context_length": CONTEXT, **TEXT})
