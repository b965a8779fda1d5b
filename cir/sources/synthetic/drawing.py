"""Draws one garment as a product photo: cloth, cut, light, background and pose.

The garment is drawn upright at twice the size and posed by the one resampling that brings it to
its size, which smooths its edges as well.
"""

import io
from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from cir.sources.synthetic.garments import COLOURS, Colour
from cir.sources.synthetic.outlines import Outline, Points, cut
from cir.sources.synthetic.textures import texture

_FINER: Final = 2
"""Pixels drawn for each pixel of the photo, along a side."""
_DARK: Final = 110
"""Luma below which cloth counts as dark, so that what is drawn on it is light."""
_PALE: Final = 200
"""Luma above which white shows badly on cloth."""
_INK: Final = (46, 40, 44)
_PAPER: Final = (250, 248, 240)
_ACCENTS: Final[tuple[Colour, ...]] = ((250, 250, 246), (252, 224, 96), (255, 170, 190))
_DEEP_ACCENTS: Final[tuple[Colour, ...]] = ((40, 40, 48), (172, 24, 52), (30, 62, 130))

_SIDES: Final = (0.82, 0.9, 0.97, 1.02, 1.04, 1.0, 0.95, 0.88, 0.8)
"""Brightness of a hanging garment from its left to its right, where the middle faces the light."""
_BRIGHTEST: Final = 1.12
"""Brightness of the most lit fold; the cloth's own colour is 1."""


def draw(category: str, attributes: Mapping[str, str], size: int, seed: tuple[int, ...]) -> bytes:
    """A JPEG of the garment.

    Args:
        category: dress, shirt or toptee.
        attributes: A value for each facet of `cir.sources.synthetic.garments.SHARES`.
        size: Height and width in pixels.
        seed: Decides everything that the attributes leave open.
    """
    rng = np.random.default_rng(seed)
    outline = cut(
        category,
        attributes["sleeves"],
        attributes["neck"],
        attributes["length"],
        flare=rng.uniform(0, 1),
        arm_angle=rng.uniform(0.3, 0.55),
    )
    garment = _sewn(outline, attributes, size * _FINER, rng)
    photo = _photographed(_posed(garment, outline, size, rng), rng)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return file.getvalue()


# ---------------------------------------------------------------------------------- the garment


def _sewn(
    outline: Outline, attributes: Mapping[str, str], side: int, rng: np.random.Generator
) -> Image.Image:
    """The garment alone, upright, on nothing."""
    colour = _varied(COLOURS[attributes["colour"]], rng)
    cloth = _cloth(colour, attributes["pattern"], side, rng)
    sleeves, body = _mask(outline.sleeves, side), _mask((outline.body,), side)
    opening = _mask((outline.neck,), side)
    front = ImageChops.subtract(ImageChops.lighter(sleeves, body), opening)
    inside = ImageChops.multiply(_mask((outline.back,), side), ImageChops.lighter(opening, body))
    cloth.paste(_shade(colour, 0.55), mask=ImageChops.multiply(inside, opening))
    _stitch(cloth, outline, colour)
    lapels = _mask(outline.lapels, side)
    if outline.lapels:
        _sew_collar(cloth, outline, lapels, colour)
    _print_graphic(cloth, attributes["graphic"], outline.chest, colour, rng)
    cloth.putalpha(ImageChops.lighter(ImageChops.lighter(front, inside), lapels))
    return cloth


def _cloth(colour: Colour, pattern: str, side: int, rng: np.random.Generator) -> Image.Image:
    """A square of lit cloth."""
    second = _second(colour, rng)
    cloth = Image.new("RGB", (side, side), _shade(colour, _BRIGHTEST))
    if pattern != "solid":
        weight = Image.fromarray(texture(pattern, side, rng))
        cloth.paste(_shade(second, _BRIGHTEST), mask=weight)
    return ImageChops.multiply(cloth, _folds(side, rng).convert("RGB"))


def _folds(side: int, rng: np.random.Generator) -> Image.Image:
    """Brightness of draped cloth: darker at the sides, with soft upright folds."""
    drape = rng.uniform(0.84, 1.08, (4, len(_SIDES))) * np.array(_SIDES) / _BRIGHTEST
    coarse = Image.fromarray(np.clip(drape * 255, 0, 255).astype(np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def _stitch(cloth: Image.Image, outline: Outline, colour: Colour) -> None:
    """Seams, edges and the neck's rib."""
    pen = ImageDraw.Draw(cloth)
    side, dark = cloth.width, _edge(colour)
    thin = max(1, side // 128)
    for sleeve in outline.sleeves:
        _line(pen, sleeve[1:], side, dark, thin)
    for line in outline.lines:
        _line(pen, line, side, dark, thin)
    _line(pen, outline.body, side, dark, 2 * thin, closed=True)
    _line(pen, outline.neck[:-2], side, _shade(colour, 0.8), 5 * thin)
    _line(pen, outline.neck[:-2], side, dark, thin)


def _sew_collar(cloth: Image.Image, outline: Outline, lapels: Image.Image, colour: Colour) -> None:
    pen = ImageDraw.Draw(cloth)
    side, dark = cloth.width, _edge(colour)
    cloth.paste(_shade(colour, 1.08), mask=lapels)
    for lapel in outline.lapels:
        _line(pen, lapel, side, dark, max(1, side // 110), closed=True)
    fill = _PAPER if _luma(colour) < _DARK else _shade(colour, 0.55)
    for x, y in outline.buttons * side:
        half = side / 110
        pen.ellipse((x - half, y - half, x + half, y + half), fill=fill, outline=dark)


def _print_graphic(
    cloth: Image.Image,
    graphic: str,
    chest: tuple[float, float],
    colour: Colour,
    rng: np.random.Generator,
) -> None:
    """A motif on the chest, with a rim that parts it from the pattern."""
    if graphic == "none":
        return
    accents = _ACCENTS if _luma(colour) < _DARK + 30 else _DEEP_ACCENTS
    fill = accents[int(rng.integers(len(accents)))]
    rim = _INK if accents is _ACCENTS else _PAPER
    pen, side = ImageDraw.Draw(cloth), cloth.width
    half = rng.uniform(0.062, 0.078)
    shape = _MOTIFS[graphic]
    for grown, ink in ((1.3, rim), (1.0, fill)):
        points = (shape * half * grown + np.array(chest)) * side
        pen.polygon([(x, y) for x, y in points.tolist()], fill=ink)


def _star() -> Points:
    turn = -np.pi / 2 + np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([reach * np.cos(turn), reach * np.sin(turn)], 1)


def _heart() -> Points:
    """The curve x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, made to fit 1."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], 1) / 17


def _moon() -> Points:
    outer, inner = np.linspace(0.9, 5.4, 30), np.linspace(5.05, 1.25, 30)
    far = np.stack([np.cos(outer), np.sin(outer)], 1)
    near = np.stack([0.45 + 0.78 * np.cos(inner), 0.78 * np.sin(inner)], 1)
    return np.concatenate([far, near])


def _bolt() -> Points:
    return np.array(
        [(0.25, -1.1), (-0.62, 0.2), (-0.08, 0.2), (-0.3, 1.1), (0.62, -0.28), (0.08, -0.28)]
    )


_MOTIFS: Final[Mapping[str, Points]] = {
    "star": _star(),
    "heart": _heart(),
    "moon": _moon(),
    "bolt": _bolt(),
}


# ------------------------------------------------------------------------------------ the photo


def _photographed(posed: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The posed garment before a background, under some light."""
    size = posed.width
    photo = _background(size, rng)
    reach = max(1, size // 64)
    across, down = int(rng.integers(-reach, reach + 1)), reach
    shadow = posed.getchannel("A").filter(ImageFilter.GaussianBlur(size / 40))
    faint = shadow.point([alpha * 45 // 100 for alpha in range(256)])
    photo.paste(_shade(_mean(photo), 0.6), (across, down, across + size, down + size), faint)
    photo.paste(posed, mask=posed.getchannel("A"))
    return _lit(photo, rng)


def _posed(
    garment: Image.Image, outline: Outline, size: int, rng: np.random.Generator
) -> Image.Image:
    """Rotated, tilted, scaled and moved, at the photo's size, most of the photo filled."""
    side = garment.width
    middle, extent = outline.middle_and_extent()
    angle, scale = rng.normal(0, 0.06), np.clip(extent * rng.uniform(1.08, 1.3), 0.7, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    seen = (corners + rng.uniform(-0.02, 0.02, (4, 2))) @ turn * scale
    seen += middle + rng.uniform(-0.03, 0.03, 2)
    fine = garment.transform(
        (side, side),
        Image.Transform.QUAD,
        (seen * side).ravel().tolist(),
        Image.Resampling.BILINEAR,
    )
    return fine.reduce(side // size)


def _background(size: int, rng: np.random.Generator) -> Image.Image:
    """A light wall, at times coloured, brighter towards one corner."""
    hue = rng.uniform(150, 235, 3) if rng.random() < 0.4 else np.repeat(rng.uniform(205, 250), 3)
    corners = hue + rng.uniform(-14, 14, (2, 2, 1))
    wall = Image.fromarray(np.clip(corners, 0, 255).astype(np.uint8))
    return wall.resize((size, size), Image.Resampling.BILINEAR)


def _lit(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, a tint of the light, and the sensor's grain."""
    exposure = rng.uniform(0.9, 1.06) * rng.uniform(0.975, 1.025, 3)
    pixels = np.asarray(photo, dtype=np.float32) * exposure.astype(np.float32)
    pixels += rng.normal(0, rng.uniform(0.5, 2.5), pixels.shape[:2]).astype(np.float32)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# -------------------------------------------------------------------------------------- colours


def _varied(colour: Colour, rng: np.random.Generator) -> Colour:
    """The same colour of another dye lot."""
    moved = np.clip(np.array(colour) + rng.normal(0, 4, 3), 0, 255)
    return _rgb(moved)


def _second(colour: Colour, rng: np.random.Generator) -> Colour:
    """A second colour that leaves the first the garment's colour."""
    drawn, level = rng.random(), rng.random()
    if _luma(colour) < _DARK:
        return _rgb((215 + 35 * level) * np.array([1.0, 0.99, 0.96]))
    if drawn < 0.5:
        return _shade(colour, 0.38 + 0.12 * level)
    return _PAPER if _luma(colour) < _PALE else _rgb((50 + 30 * level) * np.array([1.0, 1.0, 1.1]))


def _edge(colour: Colour) -> Colour:
    """The colour of lines on cloth: darker, or lighter on what is nearly black."""
    return _shade(colour, 0.62) if _luma(colour) > 44 else _shade(colour, 1.8)


def _shade(colour: Colour, factor: float) -> Colour:
    return _rgb(np.clip(np.array(colour) * factor, 0, 255))


def _rgb(values: Float[np.ndarray, "3"]) -> Colour:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _luma(colour: Colour) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def _mean(photo: Image.Image) -> Colour:
    return _rgb(np.asarray(photo.resize((1, 1), Image.Resampling.BOX), dtype=np.float64)[0, 0])


# ---------------------------------------------------------------------------------------- lines


def _mask(polygons: tuple[Points, ...], side: int) -> Image.Image:
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        pen.polygon([(x, y) for x, y in (polygon * side).tolist()], fill=255)
    return image


def _line(
    pen: ImageDraw.ImageDraw,
    points: Points,
    side: int,
    colour: Colour,
    width: int,
    *,
    closed: bool = False,
) -> None:
    drawn = (points * side).tolist()
    path = [(x, y) for x, y in (drawn + drawn[:1] if closed else drawn)]
    pen.line(path, fill=colour, width=width, joint="curve")
