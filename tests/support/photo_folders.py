"""Photo files for tests of folders and catalogues."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.worlds import blot


def write_photos(root: Path, names: Iterable[str], size: int = 16) -> Path:
    """Writes a photo for each path from `root`, whose pixels depend on the path alone."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        photo(name, size).save(file)
    return root


def photo(name: str, size: int = 16) -> Image.Image:
    """A photo of its own for each name."""
    return blot(np.random.default_rng(zlib.crc32(name.encode())), size)
