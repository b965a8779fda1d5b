"""One small picture in every format that is read."""

import io
from functools import cache
from typing import Any, Final

from PIL import Image, ImageDraw

FORMATS: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"quality": 90},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
    "AVIF": {"quality": 90, "speed": 10},
}
"""Pillow's name of each format to how the picture is saved in it."""


@cache
def picture() -> Image.Image:
    """A drawing of 60 by 40 pixels, whose corners differ; not to be changed."""
    image = Image.new("RGB", (60, 40), (210, 180, 150))
    draw = ImageDraw.Draw(image)
    draw.ellipse((10, 5, 50, 35), fill=(40, 80, 160))
    draw.rectangle((0, 0, 6, 6), fill=(200, 30, 30))
    draw.line((0, 39, 59, 0), fill=(20, 120, 40), width=2)
    return image


@cache
def encoded(name: str) -> bytes:
    """The picture in a format, with the EXIF that lets it stand as it is."""
    content = io.BytesIO()
    picture().save(content, name, **FORMATS[name])
    return content.getvalue()
