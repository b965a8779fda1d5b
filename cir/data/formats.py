"""The image formats that are read: their suffixes, and the only decoders that are tried."""

from typing import Final

IMAGE_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp"),
    *(".tiff", ".tif", ".gif", ".avif"),
)
"""Endings of names, in any case; that of the file need not be that of its format."""

IMAGE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Pillow's names: no other decoder sees a file, least of all one that starts a program."""

FORMAT_NAMES: Final = "JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF"
"""As a sentence names them."""

MOST_BYTES: Final = 1 << 30
"""Size of a file above which it is not read."""
