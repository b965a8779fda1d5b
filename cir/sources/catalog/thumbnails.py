"""Near-identical photos, found by comparing small thumbnails."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from cir.data.images import read_image
from cir.errors import ImageError
from cir.progress import SILENT, Progress

SIDE: Final = 16
"""Height and width of a thumbnail in pixels."""
NEAR: Final = 3.0
"""Root mean square difference of 0..255 values below which two photos show the same shot.

On 9,583 product photos, pairs below 3 are the same picture saved twice or mirrored shots of one
product; from 3 on, white garments on white ground begin to be mistaken for each other.
"""
_BLOCK: Final = 1024
"""Photos that are compared with a span of others at once."""
_SPAN: Final = 8192
"""Photos of a span: the differences of a block from them take 32 MiB."""
_MANY: Final = 10_000
"""Different photos from which on comparing them takes more than a second, and is shown."""


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
    thumbnails: UInt8[np.ndarray, "rows side side 3"],
    threshold: float = NEAR,
    progress: Progress = SILENT,
) -> Int[np.ndarray, " rows"]:
    """Groups photos whose thumbnails differ by less than `threshold`, and chains of such photos.

    Args:
        thumbnails: Of the photos.
        threshold: Root mean square difference.
        progress: Told of every photo that was compared, where they are many.

    Returns:
        For each photo the row of its group's first photo.
    """
    flat = thumbnails.reshape(len(thumbnails), -1)
    first, of_row = _distinct(flat)
    groups = _chained(flat[first], threshold**2 * flat.shape[1], progress)
    leaders: Int[np.ndarray, " rows"] = first[groups][of_row]
    return leaders


def _distinct(
    flat: UInt8[np.ndarray, "rows pixels"],
) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " rows"]]:
    """The first row of each content, in order; and which of these each row is the same as."""
    place_of: dict[bytes, int] = {}
    of_row = [place_of.setdefault(row.tobytes(), len(place_of)) for row in flat]
    _, first = np.unique(of_row, return_index=True)
    return first.astype(np.int64), np.array(of_row, dtype=np.int64)


def _chained(
    flat: UInt8[np.ndarray, "rows pixels"], most: float, progress: Progress
) -> Int[np.ndarray, " rows"]:
    """The first row of each row's group: rows whose sum of squared differences is below `most`."""
    leader = np.arange(len(flat), dtype=np.int64)
    shown = progress if len(flat) > _MANY else SILENT
    with shown.task("comparing photos", len(flat), "photos") as task:
        for start in range(0, len(flat), _BLOCK):
            block = flat[start : start + _BLOCK]
            for begin in range(start, len(flat), _SPAN):
                close = _squares(block, flat[begin : begin + _SPAN]) < most
                for row in np.flatnonzero(close.any(axis=1)):
                    _join(leader, start + int(row), begin + np.flatnonzero(close[row]))
            task.advance(len(block))
    return _roots(leader, leader)


def _squares(
    some: UInt8[np.ndarray, "some pixels"], others: UInt8[np.ndarray, "others pixels"]
) -> Float[np.ndarray, "some others"]:
    """Sums of squared differences, exact where they are small.

    Around their middle, pixels of a thumbnail make no sum that float32 does not hold exactly.
    """
    left, right = (pixels.astype(np.float32) - 128 for pixels in (some, others))
    products = left @ right.T
    squares: Float[np.ndarray, "some others"] = np.square(left).sum(1)[:, None] - products
    squares += np.square(right).sum(1) - products
    return squares


def _join(leader: Int[np.ndarray, " rows"], row: int, others: Int[np.ndarray, " others"]) -> None:
    """Makes one group of a row's group and those of others, led by the first of all."""
    near = np.append(others, row)
    roots = _roots(leader, near)
    leader[roots] = leader[near] = roots.min()


def _roots(
    leader: Int[np.ndarray, " rows"], rows: Int[np.ndarray, " some"]
) -> Int[np.ndarray, " some"]:
    """The first row of the group of each of some rows."""
    roots: Int[np.ndarray, " some"] = leader[rows]
    while (leader[roots] != roots).any():
        roots = leader[roots]
    return roots
