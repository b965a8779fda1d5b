"""Small pictures in every format that is read, and in many of their varieties."""

import io
from functools import cache
from typing import Any, Final

import numpy as np
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


@cache
def varieties() -> dict[str, bytes]:
    """A photo in each format and in the varieties of it that decoders read differently, by name."""
    colour, grey = picture(), picture().convert("L")
    wide = np.asarray(grey, dtype=np.uint16) * 257
    clear = picture().convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    exif = Image.Exif()
    exif[0x112], exif[0x11A] = 6, 72.0
    frames = {"save_all": True, "append_images": [colour.rotate(90), grey.convert("RGB")]}
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", colour, {"exif": exif}),
        ("JPEG", colour, {"progressive": True}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("JPEG", grey, {}),
        ("PNG", clear, {"exif": exif}),
        ("PNG", colour.quantize(), {}),
        ("PNG", Image.fromarray(wide), {}),
        ("PNG", grey.convert("1"), {}),
        ("WEBP", clear, {"lossless": True}),
        ("WEBP", colour, frames),
        ("BMP", colour, {}),
        ("BMP", colour.quantize(), {}),
        ("TIFF", colour, {"compression": "tiff_lzw"}),
        ("TIFF", colour, {"compression": "jpeg"}),
        ("TIFF", colour, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", colour, {"exif": exif}),
        ("TIFF", grey.convert("1"), {"compression": "group4"}),
        ("TIFF", Image.fromarray(wide), {}),
        ("TIFF", Image.fromarray(wide.astype(np.float32)), frames),
        ("GIF", colour, {}),
        ("GIF", colour, frames),
        ("AVIF", clear, {"speed": 10}),
        ("AVIF", colour, {"speed": 10, "exif": exif}),
    ]
    return {
        f"{name}-{row}": _saved(name, image, how) for row, (name, image, how) in enumerate(made)
    }


def _saved(name: str, image: Image.Image, how: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    image.save(content, name, **how)
    return content.getvalue()
