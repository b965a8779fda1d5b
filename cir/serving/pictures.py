"""Photos of the gallery as small JPEGs, the last ones kept in memory.

A picture is always drawn anew from the pixels: what else a file holds is not sent.
"""

import io
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from PIL import Image

_QUALITY: Final = 82
_MOST_BYTES: Final = 64 * 2**20
"""Of the pictures that are kept."""


class ThumbnailCache:
    """Draws pictures, and keeps the last ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def jpeg(self, key: str, side: int, read: Callable[[], Image.Image]) -> bytes:
        """A picture whose longest side has `side` pixels at most.

        Args:
            key: What identifies the photo's content.
            side: Pixels.
            read: Decodes the photo, where no picture is kept.
        """
        with self._lock:
            if (key, side) in self._kept:
                self._kept.move_to_end((key, side))
                return self._kept[key, side]
        drawn = _drawn(read(), side)
        with self._lock:
            self._keep((key, side), drawn)
        return drawn

    def _keep(self, key: tuple[str, int], drawn: bytes) -> None:
        self._bytes += len(drawn) - len(self._kept.pop(key, b""))
        self._kept[key] = drawn
        while self._bytes > _MOST_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


def _drawn(photo: Image.Image, side: int) -> bytes:
    picture = photo.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()
