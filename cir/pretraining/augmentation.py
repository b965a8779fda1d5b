"""How photos are varied while cir-tiny is trained: mirrored, shifted, scaled and lit."""

from typing import Final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

_FLIP: Final = 0.5
"""Share of images that are mirrored."""
_SCALE: Final = (0.85, 1.1)
_STRETCH: Final = (0.94, 1.06)
_SHIFT: Final = 0.12
"""Furthest shift, of half the image's edge."""
_LIGHT: Final = (0.88, 1.12)


def augmented(
    images: UInt8[Tensor, "batch 3 size size"], generator: torch.Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Mirrors, shifts, scales and lights the images, in [0, 1]; colours keep their hue."""
    count = len(images)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape).uniform_(low, high, generator=generator)

    mirror = torch.where(drawn(0, 1) < _FLIP, -1.0, 1.0)
    scale, stretch = drawn(*_SCALE), drawn(*_STRETCH)
    pose = torch.zeros(count, 2, 3)
    pose[:, 0, 0], pose[:, 1, 1] = mirror * scale * stretch, scale / stretch
    pose[:, :, 2] = drawn(-_SHIFT, _SHIFT, 2)
    grid = functional.affine_grid(pose, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images.float() / 255, grid, padding_mode="border", align_corners=False
    )
    return (moved * drawn(*_LIGHT, 1, 1, 1)).clamp_(0, 1)
