"""Photos as small pictures inside a page: data URIs, each file read once."""

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image

from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.errors import DatasetError, ImageError

SIDE: Final = 224
"""Longest side of a picture in pixels: what a reader can enlarge it to."""
_QUALITY, _METHOD = 72, 2
"""Of WebP, which at this size takes what JPEG takes at 144 pixels; 2 is its fast search."""


class DataUris:
    """The pictures of a dataset's photos, by image id."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._drawn: dict[str, str | None] = {}

    def uri(self, image_id: str) -> str | None:
        """The photo as a data URI, or None where its file is gone or broken."""
        if image_id not in self._drawn:
            self._drawn[image_id] = self._draw(image_id)
        return self._drawn[image_id]

    def _draw(self, image_id: str) -> str | None:
        try:
            return data_uri(self._dataset.image_path(image_id))
        except (DatasetError, ImageError):
            return None


def data_uri(path: Path) -> str:
    """A photo, reduced to `SIDE` pixels and compressed as WebP, as a data URI.

    Raises:
        ImageError: the file is missing or broken.
    """
    picture = read_image(path, least=2 * SIDE)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=_QUALITY, method=_METHOD)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
