"""A decoded image as RGB of eight bits, upright, on white, no larger than it needs to be.

The image is taken strip by strip, so that beside it only the result is held. One of very many
pixels is made smaller on the way by a whole factor, each pixel the mean of those that it stands
for.
"""

import math
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float32
from PIL import ExifTags, Image

_STRIP_PIXELS: Final = 1 << 20
_MANY_PIXELS: Final = 16_000_000
"""Pixels of a result above which it is made smaller, where fewer are enough."""
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
_OF_DAMAGED_EXIF: Final = (SyntaxError, struct.error, ValueError, TypeError, LookupError, OSError)
"""What Pillow raises of an EXIF block that is none."""
_WIDE_GREY: Final = ("I", "F")
"""Pillow's modes of 32-bit grey, of whole numbers and of fractions."""
_TIFF_BITS: Final = 258


def as_rgb(image: Image.Image, least: int | None = None) -> Image.Image:
    """The pixels as a screen shows them.

    Grey of 16 bits is scaled from its whole range. Grey of 32 bits, to which no format gives a
    range, is scaled so that its greatest value is white and zero, or its least value where that is
    below, is black.

    Args:
        image: Decoded.
        least: Pixels of the shorter edge that are enough, which an image of many more pixels is
            made smaller for; None leaves the image its size.

    Raises:
        ValueError: grey of 32 bits has no pixel that is a finite number.
    """
    factor = 1 if least is None else _factor(image.width, image.height, least)
    grey = _grey_range(image)
    if factor == 1 and grey is None and image.mode == "RGB" and "transparency" not in image.info:
        whole = image.copy()
    else:
        whole = Image.new("RGB", [-(-edge // factor) for edge in image.size])
        for top, strip in _strips(image, factor):
            coloured = _on_white(strip if grey is None else _eight_bits(strip, *grey))
            whole.paste(coloured.reduce(factor) if factor > 1 else coloured, (0, top // factor))
    turn = _turn(image)
    return whole if turn is None else whole.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright by its EXIF orientation; none where that cannot be read."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _OF_DAMAGED_EXIF:
        return None


def _factor(width: int, height: int, least: int) -> int:
    """How many times smaller each edge becomes."""
    wanted = math.isqrt((width * height - 1) // _MANY_PIXELS) + 1
    return max(1, min(wanted, min(width, height) // least))


def _strips(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    """Rows of the image from top to bottom, a multiple of `factor` at a time."""
    width, height = image.size
    rows = factor * max(1, _STRIP_PIXELS // (factor * width))
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _on_white(image: Image.Image) -> Image.Image:
    """Drops the alpha channel by laying the image on white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    coloured = image.convert("RGBA")
    white = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(white, coloured).convert("RGB")


def _grey_range(image: Image.Image) -> tuple[float, float] | None:
    """The values of black and white of grey that has more than eight bits."""
    if image.mode.startswith("I;16"):
        # A TIFF of 12 bits is handed on as one of 16.
        bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, (16,))[0]
        return 0.0, float((1 << bits) - 1)
    if image.mode not in _WIDE_GREY:
        return None
    ranges = [(float(v.min()), float(v.max())) for v in map(_finite, _strips(image, 1)) if v.size]
    if not ranges:
        raise ValueError("none of its pixels is a finite number")
    least, greatest = min((0.0, *(low for low, _ in ranges))), max((0.0, *(h for _, h in ranges)))
    return least, greatest if greatest > least else least + 1.0


def _finite(strip: tuple[int, Image.Image]) -> Float32[np.ndarray, " finite"]:
    values = np.asarray(strip[1], dtype=np.float32)
    return values[np.isfinite(values)]


def _eight_bits(image: Image.Image, black: float, white: float) -> Image.Image:
    """Grey as bytes; what is no number is black."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=black)
    scaled = (values - black) * (255 / (white - black))
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8))
