"""Photos to pixels: pad, resize, crop and normalise, in the three ways of the field.

* `targetpad` pads a photo whose aspect ratio passes 1.25 down to that ratio, then resizes its
  shorter edge and crops the centre (Baldrati et al., CLIP4Cir, CVPR 2022 workshops, section 3.3).
* `squarepad` pads every photo to a square.
* `clip` does not pad: what the centre crop cuts away is lost (Radford et al., CLIP, 2021).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from cir.errors import UsageError
from cir.machine.runtime import upload

ENOUGH: Final = 2
"""A photo is decoded at no less than this many times the encoder's size, where it has as many."""
TARGET_RATIO: Final = 1.25
"""Aspect ratio up to which `targetpad` lets the centre crop do the work."""

_MOST_RATIO: Final[Mapping[str, float | None]] = {
    "targetpad": TARGET_RATIO,
    "squarepad": 1.0,
    "clip": None,
}
"""The aspect ratio that a photo is padded down to; None pads nothing."""


@dataclass(frozen=True)
class PhotoTransform:
    """One photo to normalised pixels; a plain value, so that worker processes receive it."""

    most_ratio: float | None
    """Longer edge over shorter edge above which black bars are added; None adds none."""
    size: int
    """Height and width of the result in pixels."""
    mean: tuple[float, ...]
    """Mean of each colour channel, of values 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each colour channel."""

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 size size"]:
        """The pixels of `image`, normalised, channels first."""
        return self.normalised(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "size size 3"]:
        """The pixels of `image`, a byte a colour: a quarter of what a worker sends otherwise."""
        return torch.from_numpy(np.array(squared(image, self.most_ratio, self.size)))

    def normalised(
        self, pixels: UInt8[Tensor, "batch size size 3"]
    ) -> Float[Tensor, "batch 3 size size"]:
        """The same as calling the transform, of what `pixels` gave, on whatever device it is."""
        # Along a row of pixels, all colours in turn: three numbers at a time fill no vector.
        rows = pixels.flatten(2).float()
        means, deviations = (
            upload(np.tile(np.array(each, np.float32), pixels.shape[2]), rows.device)
            for each in (self.mean, self.std)
        )
        # By a tensor: a GPU multiplies by 1 / 255 where it is told a number, and rounds twice.
        rows.div_(rows.new_full((), 255)).sub_(means).div_(deviations)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)


def build_preprocess(
    name: str, size: int, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Image.Image], Float[Tensor, "3 size size"]]:
    """The transform called `name`, for an encoder's image size and colour statistics.

    Raises:
        UsageError: there is no such transform.
    """
    if name not in _MOST_RATIO:
        raise UsageError(f"`preprocess` is {name!r}; expected one of {', '.join(_MOST_RATIO)}")
    return PhotoTransform(_MOST_RATIO[name], size, tuple(mean), tuple(std))


def squared(image: Image.Image, most_ratio: float | None, size: int) -> Image.Image:
    """An RGB square of `size` pixels: padded to `most_ratio`, resized, cropped at the centre.

    Only what the square shows is computed, and an edge that grows, by bars or by being resized,
    grows once the other one is small: a narrow strip needs no more memory than a photo.
    """
    edges = _edges(image.size, most_ratio, size)
    growth = [
        (edge.bars, max(1.0, size / old)) for edge, old in zip(edges, image.size, strict=True)
    ]
    resized = image if image.mode == "RGB" else image.convert("RGB")
    for axis in sorted(range(2), key=growth.__getitem__):
        resized = _resized_along(resized, axis, edges[axis], size)
    return resized


@dataclass(frozen=True)
class _Edge:
    """What becomes of one edge of a photo, in pixels of the padded photo."""

    bars: int
    """Added in all; half of them before the photo, the odd one behind it."""
    start: float
    """Where the square begins."""
    length: float
    """How far it reaches."""


def _edges(shape: tuple[int, int], most_ratio: float | None, size: int) -> list[_Edge]:
    """The horizontal and the vertical edge, in torchvision's arithmetic of resizing and cropping.

    The shorter padded edge becomes `size` pixels long, the longer one the whole number below its
    share, of which the middle `size` are kept.
    """
    needed = round(max(shape) / most_ratio) if most_ratio else 0
    padded = [max(needed, edge) for edge in shape]
    resized = [int(size * edge / min(padded)) for edge in padded]
    scales = [edge / small for edge, small in zip(padded, resized, strict=True)]
    starts = [round((small - size) / 2.0) for small in resized]
    return [
        _Edge(bars=whole - edge, start=start * scale, length=size * scale)
        for edge, whole, start, scale in zip(shape, padded, starts, scales, strict=True)
    ]


def _resized_along(image: Image.Image, axis: int, edge: _Edge, size: int) -> Image.Image:
    """The image with the part of one edge that the square shows resized to `size` pixels."""
    padded = _with_bars(image, axis, edge.bars) if edge.bars else image
    begin, end = edge.start, edge.start + edge.length
    if axis == 0:
        shape, box = (size, image.height), (begin, 0.0, end, float(image.height))
    else:
        shape, box = (image.width, size), (0.0, begin, float(image.width), end)
    return padded.resize(shape, Image.Resampling.BICUBIC, box=box)


def _with_bars(image: Image.Image, axis: int, bars: int) -> Image.Image:
    """The image with so many black columns (`axis` 0) or rows more in all, half on each side."""
    before, after = bars // 2, bars - bars // 2
    border = (before, 0, after, 0) if axis == 0 else (0, before, 0, after)
    return ImageOps.expand(image, border, fill=0)


def normalise(
    pixels: Float[Tensor, "*batch 3 height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "*batch 3 height width"]:
    """Pixels in [0, 1], each channel less its mean and over its standard deviation."""
    means, deviations = (_channels(values, pixels.device) for values in (mean, std))
    normalised: Tensor = (pixels - means) / deviations
    return normalised


def _channels(values: Sequence[float], device: torch.device) -> Float[Tensor, "3 1 1"]:
    return upload(np.array(values, dtype=np.float32), device).reshape(3, 1, 1)
