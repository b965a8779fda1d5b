"""Near-identical photos, found by comparing small thumbnails."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from cir.data.images import read_image
from cir.errors import ImageError

SIDE: Final = 16
"""Height and width of a thumbnail in pixels."""
NEAR: Final = 3.0
"""Root mean square difference of 0..255 values below which two photos show the same shot.

On 9,583 product photos, pairs below 3 are the same picture saved twice or mirrored shots of one
product; from 3 on, white garments on white ground begin to be mistaken for each other.
"""
_BLOCK: Final = 1024


@dataclass(frozen=True)
class Thumbnail:
    """A photo made small, or why it cannot be read."""

    pixels: UInt8[np.ndarray, "side side 3"] | None
    fault: str = ""


def read_thumbnail(path: Path) -> Thumbnail:
    """Decodes the whole photo, so that a damaged one is found, at the lowest cost."""
    try:
        image = read_image(path, least=SIDE * 2)
    except ImageError as fault:
        return Thumbnail(None, str(fault))
    return Thumbnail(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)))


def near_identical(
    thumbnails: UInt8[np.ndarray, "rows side side 3"], threshold: float = NEAR
) -> Int[np.ndarray, " rows"]:
    """Groups photos whose thumbnails differ by less than `threshold`, and chains of such photos.

    Returns:
        For each photo the row of its group's first photo.
    """
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    leader = list(range(len(flat)))
    for start in range(0, len(flat), _BLOCK):
        close = _mean_squares(flat[start : start + _BLOCK], flat[start:]) < threshold**2
        for row, other in np.argwhere(np.triu(close, 1)) + start:
            _join(leader, int(row), int(other))
    return np.array([_root(leader, row) for row in range(len(leader))], dtype=np.int64)


def _mean_squares(
    some: Float[np.ndarray, "some pixels"], others: Float[np.ndarray, "others pixels"]
) -> Float[np.ndarray, "some others"]:
    norms = np.square(some).sum(1)[:, None] + np.square(others).sum(1)
    squares: Float[np.ndarray, "some others"] = (norms - 2 * some @ others.T) / some.shape[1]
    return squares


def _join(leader: list[int], row: int, other: int) -> None:
    first, second = sorted((_root(leader, row), _root(leader, other)))
    leader[second] = first


def _root(leader: list[int], row: int) -> int:
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return row
