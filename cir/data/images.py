"""Images read from disk, or one line that says why they cannot be."""

import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from cir.errors import ImageError
from cir.files import unreadable


def read_image(path: Path, *, least: int | None = None) -> Image.Image:
    """Decodes an image wholly, upright, as RGB; transparency is laid on white.

    Args:
        path: The file.
        least: Pixels a side that are enough. A JPEG is then decoded at a half to an eighth of its
            size where that leaves as many, which is faster.

    Raises:
        ImageError: the file is missing, empty, truncated, or no image.
    """
    return decode_image(image_bytes(path), path, least=least)


def image_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: the file is missing, empty or unreadable.
    """
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} is missing") from None
    except OSError as fault:
        raise ImageError(unreadable(path, fault, "cannot be read ({})")) from fault
    if not encoded:
        raise ImageError(f"{path} is empty (0 bytes): fetch it again")
    return encoded


def decode_image(encoded: bytes, path: Path, *, least: int | None = None) -> Image.Image:
    """As `read_image`, from bytes already read; `path` is what an error names."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if least is not None:
                image.draft("RGB", (least, least))
            image.load()
            return upright(image)
    except UnidentifiedImageError:
        raise ImageError(f"{path} is no image: expected JPEG or PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as fault:
        raise ImageError(f"{path} is damaged ({fault}): fetch it again") from fault


def upright(image: Image.Image) -> Image.Image:
    """A decoded image as its EXIF orientation has it, as RGB; transparency is laid on white."""
    return _on_white(ImageOps.exif_transpose(image))


def _on_white(image: Image.Image) -> Image.Image:
    """Drops the alpha channel by laying the image on white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    coloured = image.convert("RGBA")
    white = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(white, coloured).convert("RGB")
