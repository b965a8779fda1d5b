"""The patterns of cloth: where the second colour shows, as weights in a square."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

Weights = UInt8[np.ndarray, "side side"]
Line = Float[np.ndarray, " side"]

_PETALS: Final = 5
_ROWS: Final = 10
"""Rows and columns of flowers."""


def texture(pattern: str, side: int, rng: np.random.Generator) -> Weights:
    """Weight of the second colour at every pixel, 0 to 255.

    Args:
        pattern: solid, horizontal stripes, vertical stripes, checked, dotted or floral.
        side: Height and width in pixels.
        rng: Draws spacing and phase.
    """
    line = (np.arange(side) + 0.5) / side
    rate, across, down = rng.uniform(13, 18), *rng.uniform(0, 1, 2)
    if pattern == "horizontal stripes":
        return np.repeat(_bands(line * rate + down)[:, None], side, axis=1)
    if pattern == "vertical stripes":
        return np.repeat(_bands(line * (rate + 4) + across)[None], side, axis=0)
    if pattern == "checked":
        rate *= 0.75
        upright, level = _bands(line * rate + across), _bands(line * rate + down)
        return np.asarray(level[:, None] // 2 + upright[None] // 2)
    if pattern == "dotted":
        return _dots(line * rate + across, line * rate + down)
    if pattern == "floral":
        return _flowers(side, rng)
    return np.zeros((side, side), dtype=np.uint8)


def _bands(phase: Line) -> UInt8[np.ndarray, " side"]:
    return _opaque(phase % 1 < 0.45)


def _opaque(shown: Bool[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    return shown.astype(np.uint8) * 255


def _dots(across: Line, down: Line) -> Weights:
    """Discs on a lattice whose every second row is moved by half a step."""
    apart = [np.square((across + moved) % 1 - 0.5) for moved in (0.0, 0.5)]
    odd = (np.floor(down) % 2 == 1)[:, None]
    reach = np.where(odd, apart[1], apart[0]) + np.square(down % 1 - 0.5)[:, None]
    return _opaque(reach < 0.3**2)


def _flowers(side: int, rng: np.random.Generator) -> Weights:
    """Flowers strewn about a lattice."""
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    step = side / (_ROWS - 1)
    for row, column in np.ndindex(_ROWS, _ROWS):
        centre = np.array([column + 0.5 * (row % 2), row]) + rng.uniform(-0.22, 0.22, 2)
        _flower(pen, centre * step, step * rng.uniform(0.17, 0.25), rng.uniform(0, 2 * np.pi))
    return np.asarray(image)


def _flower(
    pen: ImageDraw.ImageDraw, centre: Float[np.ndarray, "2"], size: float, turn: float
) -> None:
    """Petals around an empty heart."""
    for angle in turn + np.arange(_PETALS) * 2 * np.pi / _PETALS:
        petal = centre + size * np.array([np.cos(angle), np.sin(angle)])
        pen.ellipse(_square(petal, 0.62 * size), fill=255)
    pen.ellipse(_square(centre, 0.45 * size), fill=90)


def _square(centre: Float[np.ndarray, "2"], half: float) -> list[float]:
    return [*(centre - half).tolist(), *(centre + half).tolist()]
