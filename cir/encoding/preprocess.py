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
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from cir.errors import UsageError

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
        return normalise(pixels.permute(0, 3, 1, 2).float().div(255), self.mean, self.std)


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
    """An RGB square of `size` pixels: padded to `most_ratio`, resized, cropped at the centre."""
    padded = image.convert("RGB")
    if most_ratio is not None:
        padded = pad_to_ratio(padded, most_ratio)
    resized: Image.Image = transforms.resize(
        padded, [size], InterpolationMode.BICUBIC, antialias=True
    )
    cropped: Image.Image = transforms.center_crop(resized, [size, size])
    return cropped


def pad_to_ratio(image: Image.Image, most_ratio: float) -> Image.Image:
    """Adds black bars along the longer edges until longer over shorter is `most_ratio`."""
    width, height = image.size
    needed = round(max(width, height) / most_ratio)
    across, down = (max(needed - edge, 0) for edge in (width, height))
    left, top = across // 2, down // 2
    return ImageOps.expand(image, (left, top, across - left, down - top), fill=0)


def normalise(
    pixels: Float[Tensor, "*batch 3 height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "*batch 3 height width"]:
    """Pixels in [0, 1], each channel less its mean and over its standard deviation."""
    means, deviations = (_channels(values).to(pixels.device) for values in (mean, std))
    normalised: Tensor = (pixels - means) / deviations
    return normalised


def _channels(values: Sequence[float]) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(values).reshape(3, 1, 1)
