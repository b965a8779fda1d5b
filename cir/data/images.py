"""Images read from disk, or one line that says why they cannot be."""

import io
import warnings
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from cir.data.formats import FORMAT_NAMES, IMAGE_FORMATS, MOST_BYTES
from cir.data.rgb import as_rgb
from cir.data.shards import open_photo
from cir.disk.files import unreadable
from cir.errors import ImageError, UnreadImageError, one_line

MOST_PIXELS: Final = 120_000_000
"""Width times height above which an image is refused before it is decoded."""
MOST_EDGE: Final = 65_535
"""Pixels of the longer edge above which it is: JPEG ends there too."""


def read_image(path: Path, *, least: int | None = None) -> Image.Image:
    """Decodes an image wholly, upright, as RGB; transparency is laid on white.

    Of several frames the first is taken.

    Args:
        path: The file, which may be in a shard (`cir.data.shards`).
        least: Pixels of the shorter edge that are enough. A JPEG that has twice as many or more is
            decoded at a half to an eighth of its size, and an image of very many pixels is made
            smaller after it (`cir.data.rgb`): less time and memory.

    Raises:
        ImageError: the file is missing, empty, damaged, no image, or too large.
    """
    return decode_image(image_bytes(path), path, least=least)


def image_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadImageError: the file is missing, refused by the system, or no regular file.
        ImageError: it is empty or too large.
    """
    try:
        with open_photo(path) as file:
            encoded = file.read(MOST_BYTES + 1)
    except FileNotFoundError as fault:
        where = "" if fault.errno else f" ({fault})"  # in a shard, or at s3://
        raise UnreadImageError(f"{path} is missing{where}") from None
    except OSError as fault:
        raise UnreadImageError(unreadable(path, fault, "cannot be read: {}")) from fault
    if not encoded:
        raise ImageError(f"{path} is empty (0 bytes): fetch it again")
    if len(encoded) > MOST_BYTES:
        raise ImageError(f"{path} has more than {MOST_BYTES:,} bytes: make it smaller")
    return encoded


def decode_image(
    encoded: bytes, path: Path, *, least: int | None = None, most_pixels: int = MOST_PIXELS
) -> Image.Image:
    """As `read_image`, from bytes already read; `path` is what an error names.

    One of more than `most_pixels` is refused before it is decoded.
    """
    try:
        return _decoded(encoded, path, least, most_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{path} is no image: expected {FORMAT_NAMES}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} has more than {most_pixels:,} pixels: make it smaller") from None
    except MemoryError as fault:
        raise UnreadImageError(f"{path} needs more memory than there is to decode") from fault
    # A decoder raises whatever its authors did not think of: struct.error, TypeError, RuntimeError.
    except Exception as fault:
        raise ImageError(f"{path} is damaged ({one_line(fault)}): fetch it again") from fault


def as_read(image: Image.Image, name: str, *, least: int | None = None) -> Image.Image:
    """An image that came decoded, or that its decoder reads only now, as `read_image` gives it.

    Args:
        image: In whatever mode.
        name: What an error calls it.
        least: As of `read_image`.

    Raises:
        ImageError: its pixels turn out to be damaged.
    """
    try:
        return as_rgb(image, least)
    except MemoryError as fault:
        raise UnreadImageError(f"{name} needs more memory than there is to decode") from fault
    # As of `decode_image`.
    except Exception as fault:
        raise ImageError(f"{name} is damaged ({one_line(fault)})") from fault


def _decoded(encoded: bytes, path: Path, least: int | None, most_pixels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd about a file that can be decoded
        with Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS) as image:
            _require_size(image, path, most_pixels)
            if least is not None:
                image.draft("RGB", (least, least))
            image.load()
            return as_rgb(image, least)


def _require_size(image: Image.Image, path: Path, most_pixels: int) -> None:
    """Raises ImageError where decoding would need more memory than a photo is worth."""
    width, height = image.size
    if width * height > most_pixels or max(width, height) > MOST_EDGE:
        raise ImageError(
            f"{path} is {width:,} x {height:,} pixels; expected at most {most_pixels:,} in all and "
            f"{MOST_EDGE:,} an edge: make it smaller"
        )
