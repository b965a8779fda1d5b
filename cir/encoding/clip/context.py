"""Text towers of which only the beginning is computed: a text's own tokens, no padding.

In a causal tower no token sees a later one, and CLIP reads a text's vector where the text ends.
What stands behind the end, CLIP's padding to 77 tokens, changes nothing: positions and mask are
cut, and vectors stay the same within rounding.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from cir.encoding.clip.model import Clip


def text_ends(clip: nn.Module, tokens: Int[Tensor, "texts context"]) -> Int[Tensor, " texts"]:
    """How many tokens of each text its vector depends on: all, where the tower is not causal."""
    tower = _causal_tower(clip)
    if tower is None:
        return torch.full((len(tokens),), tokens.shape[1])
    if _pooling(tower) == "argmax":
        return tokens.argmax(dim=1) + 1
    return (tokens == _end_token(tower)).int().argmax(dim=1) + 1


def encode_beginnings(
    clip: nn.Module, tokens: Int[Tensor, "batch context"]
) -> Float[Tensor, "batch dim"]:
    """The vectors of texts whose tokens were cut behind the longest's end.

    Args:
        clip: The bundled encoder's or open_clip's model.
        tokens: Of as many positions as the tower has, or fewer where `text_ends` says so.
    """
    if isinstance(clip, Clip):
        return clip.encode_text(tokens)
    tower, prefix, length = clip, "clip.", tokens.shape[1]
    if isinstance(getattr(clip, "text", None), nn.Module):
        tower, prefix = clip.text, "clip.text."  # type: ignore[assignment]
    positions: Any = getattr(tower, "positional_embedding", None)
    if positions is None or length >= len(positions):
        whole: Tensor = clip.encode_text(tokens)  # type: ignore[operator]
        return whole
    mask: Any = tower.attn_mask
    cut = {"positional_embedding": positions[:length], "attn_mask": mask[:length, :length]}
    named = {f"{prefix}{name}": value for name, value in cut.items()}
    encoded: Tensor = functional_call(_Texts(clip), named, (tokens,), tie_weights=False)
    return encoded


class _Texts(nn.Module):
    """A model whose forward pass is that of its texts."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip
        self.training = clip.training

    def forward(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch dim"]:
        encoded: Tensor = self.clip.encode_text(tokens)  # type: ignore[operator]
        return encoded


def _causal_tower(clip: nn.Module) -> Any:
    """The part of a model that encodes texts, if no token of it sees a later one; else None."""
    tower: Any = getattr(clip, "text", clip)
    causal = isinstance(getattr(tower, "attn_mask", None), Tensor)
    appended = getattr(tower, "cls_emb", None) is not None
    return tower if causal and not appended and _pooling(tower) in ("argmax", "eos") else None


def _pooling(tower: Any) -> str | None:
    """How a text's vector is read; open_clip's two classes name it differently."""
    return getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)


def _end_token(tower: Any) -> int:
    known = getattr(tower, "text_eos_id", None)
    return int(tower.eos_id if known is None else known)
