"""Encoders small enough to build and run in milliseconds, with random weights."""

from functools import cache
from typing import Any, Literal

import torch
from open_clip import CLIP, SimpleTokenizer
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from cir.artefacts.provenance import Provenance
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import build_preprocess
from cir.encoding.weights import weights_sha256

CONTEXT = 16
TOWERS: dict[str, dict[str, Any]] = {
    "resnet": {"layers": [1, 1, 1, 1], "width": 4},
    "vit": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
}


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
            "targetpad", image_size, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
        ),
        tokenizer=_tokenizer(),
        image_size=image_size,
        device=torch.device(device),
        precision="fp32",
    )


@cache
def _tokenizer() -> SimpleTokenizer:
    """Read once: its vocabulary takes longer to read than a model to build."""
    return SimpleTokenizer(context_length=CONTEXT)


def micro_clip(dim: int, image_size: int, tower: str, seed: int, **options: Any) -> CLIP:
    """The open_clip module alone, in eval mode; `options` go to its constructor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = CLIP(
            dim,
            {"image_size": image_size, **TOWERS[tower]},
            {"context_length": CONTEXT, "width": 8, "heads": 2, "layers": 1},
            **options,
        )
    return clip.eval()
