"""Photos read from disk, or one line that says why they cannot be."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from cir.errors import ImageError


def read_image(path: Path) -> Image.Image:
    """Decodes an image wholly, upright, as RGB; transparency is laid on white.

    Raises:
        ImageError: the file is missing, empty, truncated, or no image.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty (0 bytes): fetch it again")
        with Image.open(path) as image:
            image.load()
            return _on_white(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise ImageError(f"{path} is missing") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is no image: expected JPEG or PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as fault:
        raise ImageError(f"{path} is damaged ({fault}): fetch it again") from fault


def _on_white(image: Image.Image) -> Image.Image:
    """Drops the alpha channel by laying the image on white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    coloured = image.convert("RGBA")
    ground = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(ground, coloured).convert("RGB")
