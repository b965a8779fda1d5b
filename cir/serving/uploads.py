"""Photos that came with a request: bounded in bytes and pixels, decoded in memory."""

import base64
import binascii
from pathlib import Path
from typing import Final

from PIL import Image

from cir.data.images import decode_image
from cir.errors import ImageError
from cir.serving import limits

_NAME: Final = Path("the photo")


def photo_bytes(encoded: str) -> bytes:
    """The bytes of a photo from base64.

    Raises:
        ImageError: it is no base64, or longer than a photo may be.
    """
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("`photo` is no base64; expected the bytes of an image file") from None
    return sized(decoded)


def sized(encoded: bytes) -> bytes:
    """A photo's bytes; raises ImageError where there are none, or more than may be."""
    if not 0 < len(encoded) <= limits.UPLOAD_BYTES:
        raise ImageError(
            f"the photo has {len(encoded):,} bytes; expected 1 to {limits.UPLOAD_BYTES:,}"
        )
    return encoded


def decoded_photo(encoded: bytes, *, least: int) -> Image.Image:
    """A photo, upright, as RGB; its size is read before any pixel is.

    Args:
        encoded: The bytes of its file.
        least: Pixels of the shorter edge that are enough (`cir.data.images.read_image`).

    Raises:
        ImageError: it is no image of a known format, damaged, or has more pixels than it may.
    """
    return decode_image(encoded, _NAME, least=least, most_pixels=limits.UPLOAD_PIXELS)
