"""CLIP with a ResNet: the model of the bundled encoder, built without open_clip.

open_clip cannot be imported in parts: one model costs the loading of torchvision, timm and
transformers, twice as long as torch itself. The bundled encoder needs none of them. Names, initial
weights and arithmetic are those of open_clip's `CLIP`, bit for bit
(`tests/encoding/clip/test_bundled.py`), so that weights of either are weights of both.
"""

import math
from collections import OrderedDict
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from cir.encoding.clip.attention import attended
from cir.encoding.clip.image_tower import ModifiedResNet

_MLP: Final = 4
"""Components inside a block's perceptron, to those of a token."""
_TEMPERATURE: Final = 0.07
"""That logits begin at."""


class LayerNorm(nn.LayerNorm):
    """torch's, which gives back the type that came in under autocast too."""

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The tokens, each of mean 0 and variance 1, scaled and shifted."""
        return super().forward(tokens).to(tokens.dtype)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), with which OpenAI trained CLIP in place of GELU."""

    def forward(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The function of each value."""
        return values * torch.sigmoid(1.702 * values)


class TextBlock(nn.Module):
    """Attention and a perceptron, each added to its normalised input."""

    def __init__(self, width: int, heads: int, *, quick_gelu: bool) -> None:
        """Makes a block of tokens of `width` components."""
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict[str, nn.Module](
                c_fc=nn.Linear(width, _MLP * width),
                gelu=QuickGELU() if quick_gelu else nn.GELU(),
                c_proj=nn.Linear(_MLP * width, width),
            )
        )

    def forward(
        self, tokens: Float[Tensor, "batch context width"], mask: Float[Tensor, "context context"]
    ) -> Float[Tensor, "batch context width"]:
        """The tokens, each told of those that `mask` lets it see."""
        tokens = tokens + self._attended(self.ln_1(tokens), mask.to(tokens.dtype))
        told: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return told

    def _attended(
        self, tokens: Float[Tensor, "batch context width"], mask: Float[Tensor, "context context"]
    ) -> Float[Tensor, "batch context width"]:
        attn = self.attn
        places = functional.linear(tokens.transpose(0, 1), attn.in_proj_weight, attn.in_proj_bias)
        queries, keys, values = places.chunk(3, dim=-1)
        told: Tensor = attn.out_proj(attended(queries, keys, values, attn.num_heads, mask))
        return told.transpose(0, 1)


class TextBlocks(nn.Module):
    """The blocks of the text tower, one after the other."""

    def __init__(self, width: int, heads: int, layers: int, *, quick_gelu: bool) -> None:
        """Makes `layers` blocks."""
        super().__init__()
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList(
            TextBlock(width, heads, quick_gelu=quick_gelu) for _ in range(layers)
        )

    def forward(
        self, tokens: Float[Tensor, "batch context width"], mask: Float[Tensor, "context context"]
    ) -> Float[Tensor, "batch context width"]:
        """The tokens after the last block."""
        for block in self.resblocks:
            if self.grad_checkpointing:
                tokens = checkpoint(block, tokens, mask, use_reentrant=False)
            else:
                tokens = block(tokens, mask)
        return tokens


class Clip(nn.Module):
    """An image tower and a causal text tower, into vectors of one space."""

    text_pool_type: Final = "argmax"
    """Where a text's vector is read: at the token of the highest number, which ends it."""

    attn_mask: Tensor

    def __init__(
        self,
        visual: ModifiedResNet,
        *,
        dim: int,
        context: int,
        vocabulary: int,
        width: int,
        heads: int,
        layers: int,
        quick_gelu: bool = False,
        drawn: bool = True,
    ) -> None:
        """Makes a model; the text tower has random weights.

        Args:
            visual: The image tower.
            dim: Components of a vector.
            context: Tokens of a text, at most.
            vocabulary: Different tokens.
            width: Components of a token inside the text tower.
            heads: Attention heads of a block.
            layers: Blocks.
            quick_gelu: Whether the text tower was trained with QuickGELU.
            drawn: Whether weights are drawn; to draw those that will be replaced takes longer than
                to load them.
        """
        super().__init__()
        self.visual = visual
        embedding = nn.Embedding(vocabulary, width) if drawn else _undrawn(vocabulary, width)
        self.transformer = TextBlocks(width, heads, layers, quick_gelu=quick_gelu)
        self.token_embedding = embedding
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, dim))
        self.logit_scale = nn.Parameter(torch.ones([]) * math.log(1 / _TEMPERATURE))
        # On the CPU wherever the weights are made: no file holds it.
        mask = torch.full((context, context), -math.inf, device="cpu").triu_(1)
        self.register_buffer("attn_mask", mask, persistent=False)
        if drawn:
            self._draw_weights()

    def forward(
        self, pixels: Float[Tensor, "batch 3 size size"], tokens: Int[Tensor, "texts context"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "texts dim"]]:
        """The vectors of photos and those of texts."""
        return self.encode_image(pixels), self.encode_text(tokens)

    def encode_image(
        self, pixels: Float[Tensor, "batch 3 size size"], normalize: bool = False
    ) -> Float[Tensor, "batch dim"]:
        """The vectors of normalised photos; of unit length with `normalize`."""
        vectors: Tensor = self.visual(pixels)
        return functional.normalize(vectors, dim=-1) if normalize else vectors

    def encode_text(
        self, tokens: Int[Tensor, "batch context"], normalize: bool = False
    ) -> Float[Tensor, "batch dim"]:
        """The vectors of texts, whose tokens may be cut behind the longest's end.

        No token sees a later one: what stands behind a text's end changes nothing.
        """
        length = tokens.shape[1]
        inside = self.token_embedding(tokens) + self.positional_embedding[:length]
        inside = self.ln_final(self.transformer(inside, self.attn_mask[:length, :length]))
        ends = inside[torch.arange(len(inside), device=inside.device), tokens.argmax(dim=-1)]
        vectors: Tensor = ends @ self.text_projection
        return functional.normalize(vectors, dim=-1) if normalize else vectors

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Makes the text tower's blocks compute again on the way back what they do not keep."""
        self.transformer.grad_checkpointing = enable

    def _draw_weights(self) -> None:
        """Those of Radford et al.'s release: the deeper the tower, the less a block adds."""
        width: int = self.ln_final.normalized_shape[0]
        blocks: Any = self.transformer.resblocks
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in blocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)
        nn.init.normal_(self.text_projection, std=width**-0.5)


def _undrawn(vocabulary: int, width: int) -> nn.Embedding:
    empty: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.empty(vocabulary, width), freeze=False
    )
    return empty
