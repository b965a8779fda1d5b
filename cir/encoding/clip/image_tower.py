"""CLIP's ResNet: the image tower of the bundled encoder.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021),
section 2.4: a ResNet-D with antialiased pooling, and attention in place of the last pooling. Names,
initial weights and arithmetic are those of open_clip's `ModifiedResNet`, bit for bit
(`tests/encoding/clip/test_bundled.py`), so that weights of either are weights of both.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cir.encoding.clip.attention import attended

_EXPANSION: Final = 4
"""Channels that leave a block, to those inside it."""
_STRIDE: Final = 32
"""Pixels of a photo's edge to a position of the last feature map."""


class Bottleneck(nn.Module):
    """A residual block; where it shrinks the map, pooling goes before a convolution of stride 1."""

    def __init__(self, before: int, channels: int, stride: int = 1) -> None:
        """Makes a block.

        Args:
            before: Channels that enter.
            channels: Channels inside; four times as many leave.
            stride: How much smaller the map leaves.
        """
        super().__init__()
        after = channels * _EXPANSION
        self.conv1 = nn.Conv2d(before, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample = _downsample(before, after, stride)

    def forward(
        self, features: Float[Tensor, "batch _ _ _"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The block's map."""
        inside = self.act1(self.bn1(self.conv1(features)))
        inside = self.act2(self.bn2(self.conv2(inside)))
        inside = self.bn3(self.conv3(self.avgpool(inside)))
        inside += features if self.downsample is None else self.downsample(features)
        left: Tensor = self.act3(inside)
        return left


def _downsample(before: int, after: int, stride: int) -> nn.Sequential | None:
    """What brings a block's input to the shape of its output, where they differ."""
    if stride == 1 and before == after:
        return None
    return nn.Sequential(
        OrderedDict(
            [
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(before, after, 1, bias=False)),
                ("1", nn.BatchNorm2d(after)),
            ]
        )
    )


class AttentionPool(nn.Module):
    """One vector of a map: attention whose query is the map's mean."""

    def __init__(self, edge: int, channels: int, heads: int, dim: int) -> None:
        """Makes the pooling.

        Args:
            edge: Height and width of the map.
            channels: Channels of the map.
            heads: Attention heads.
            dim: Components of the vector.
        """
        super().__init__()
        places = torch.randn(edge**2 + 1, channels)
        self.positional_embedding = nn.Parameter(places / channels**0.5)
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, dim)
        self.heads = heads

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """The vectors of a batch of maps."""
        places = features.flatten(2).permute(2, 0, 1)
        places = torch.cat([places.mean(dim=0, keepdim=True), places])
        places = places + self.positional_embedding[:, None, :].to(places.dtype)
        queries, keys, values = self.q_proj(places), self.k_proj(places), self.v_proj(places)
        pooled: Tensor = self.c_proj(attended(queries, keys, values, self.heads))
        return pooled[0]


class ModifiedResNet(nn.Module):
    """The image tower."""

    def __init__(
        self, *, dim: int, image_size: int, layers: Sequence[int], width: int, head_width: int
    ) -> None:
        """Makes a tower with random weights.

        Args:
            dim: Components of a vector.
            image_size: Height and width of the photos, a multiple of 32.
            layers: Blocks of each of the four stages.
            width: Channels of the stem.
            head_width: Channels of a head of the attention.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.act3 = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(2)
        channels = [width, *(width * _EXPANSION * 2**stage for stage in range(4))]
        self.layer1 = _stage(channels[0], width, layers[0], stride=1)
        self.layer2 = _stage(channels[1], width * 2, layers[1], stride=2)
        self.layer3 = _stage(channels[2], width * 4, layers[2], stride=2)
        self.layer4 = _stage(channels[3], width * 8, layers[3], stride=2)
        heads = channels[4] // head_width
        self.attnpool = AttentionPool(image_size // _STRIDE, channels[4], heads, dim)
        self._draw_weights()

    def stem(self, pixels: Float[Tensor, "batch 3 _ _"]) -> Float[Tensor, "batch width _ _"]:
        """Three convolutions and a pooling: a map of a quarter of the photo's edge."""
        features = self.act1(self.bn1(self.conv1(pixels)))
        features = self.act2(self.bn2(self.conv2(features)))
        features = self.act3(self.bn3(self.conv3(features)))
        pooled: Tensor = self.avgpool(features)
        return pooled

    def forward(self, pixels: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch dim"]:
        """The vectors of normalised photos."""
        features = self.layer2(self.layer1(self.stem(pixels)))
        vectors: Tensor = self.attnpool(self.layer4(self.layer3(features)))
        return vectors

    def _draw_weights(self) -> None:
        """Attention of unit variance; every block begins as its shortcut alone."""
        pool = self.attnpool
        for part in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
            nn.init.normal_(part.weight, std=pool.c_proj.in_features**-0.5)
        for block in self.modules():
            if isinstance(block, Bottleneck):
                nn.init.zeros_(block.bn3.weight)


def _stage(before: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    """Blocks of one width, the first of which may shrink the map."""
    first = Bottleneck(before, channels, stride)
    rest = (Bottleneck(channels * _EXPANSION, channels) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
