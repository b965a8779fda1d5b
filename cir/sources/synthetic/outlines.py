"""The cut of a garment: its pieces as polygons in a unit square, y downwards, centred on x = 0.5.

A garment hangs upright here; pose comes later. Right-hand pieces are drawn and mirrored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "_ 2"]
"""x and y of any number of points."""


@dataclass(frozen=True)
class Outline:
    """The pieces of one garment."""

    body: Points
    sleeves: tuple[Points, ...]
    neck: Points
    """The opening, cut out of the body."""
    back: Points
    """The inside of the back that shows through the opening."""
    lapels: tuple[Points, ...]
    """The two halves of a collar, if it has one."""
    lines: tuple[Points, ...]
    """Seams and folds, drawn as thin lines."""
    buttons: Points
    chest: tuple[float, float]
    """Where a graphic sits."""

    def middle_and_extent(self) -> tuple[Float[np.ndarray, "2"], float]:
        """The middle of the garment, and the longer side of the box around it."""
        points = np.concatenate([self.body, *self.sleeves])
        low, high = points.min(0), points.max(0)
        return (low + high) / 2, float((high - low).max())


@dataclass(frozen=True)
class _Cut:
    """Measures of a category: heights, and half widths at them."""

    top: float
    shoulder: float
    """Half width at the shoulder's tip."""
    chest: float
    waist: float
    hip: float
    armpit_y: float
    waist_y: float
    hip_y: float
    hems: Mapping[str, float]
    arm: float
    """Length of a long sleeve."""
    cuff: float
    """Half width of a long sleeve's end."""


_CUTS: Final[Mapping[str, _Cut]] = MappingProxyType(
    {
        "dress": _Cut(
            top=0.06,
            shoulder=0.125,
            chest=0.118,
            waist=0.085,
            hip=0.125,
            armpit_y=0.215,
            waist_y=0.36,
            hip_y=0.48,
            hems={"mini": 0.6, "knee": 0.76, "maxi": 0.96},
            arm=0.37,
            cuff=0.03,
        ),
        "shirt": _Cut(
            top=0.12,
            shoulder=0.205,
            chest=0.195,
            waist=0.19,
            hip=0.195,
            armpit_y=0.33,
            waist_y=0.55,
            hip_y=0.75,
            hems={"cropped": 0.58, "regular": 0.75, "tunic": 0.93},
            arm=0.52,
            cuff=0.047,
        ),
        "toptee": _Cut(
            top=0.14,
            shoulder=0.165,
            chest=0.155,
            waist=0.118,
            hip=0.175,
            armpit_y=0.32,
            waist_y=0.5,
            hip_y=0.7,
            hems={"cropped": 0.49, "regular": 0.7, "tunic": 0.9},
            arm=0.46,
            cuff=0.04,
        ),
    }
)
_NECKS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"round": (0.072, 0.075), "v": (0.068, 0.15), "boat": (0.1, 0.032), "collar": (0.06, 0.085)}
)
"""Half width and depth of an opening."""
_SLOPE: Final = 0.045
"""How far the shoulder falls from the neck to its tip."""
_SHORT_SLEEVE: Final = 0.36
"""Length of a short sleeve, of a long one's."""


def cut(
    category: str, sleeves: str, neck: str, length: str, *, flare: float, arm_angle: float
) -> Outline:
    """Cuts a garment.

    Args:
        category: dress, shirt or toptee.
        sleeves: none, short or long.
        neck: round, v, boat or collar.
        length: A length of the category.
        flare: How wide a dress or top falls at the hem, 0 to 1.
        arm_angle: Angle between a sleeve and the vertical, in radians.
    """
    sizes = _CUTS[category]
    scale = 0.88 if category == "dress" else 1.0
    half, depth = (scale * size for size in _NECKS[neck])
    hem = sizes.hems[length]
    right = _side(category, sizes, half, hem, flare, bare=sleeves == "none")
    opening = _opening(neck, half, depth, sizes.top)
    has_placket = category == "shirt" and neck == "collar"
    placket = _placket(sizes, depth, hem) if has_placket else []
    return Outline(
        body=_both(right),
        sleeves=_sleeves(sizes, sleeves, arm_angle),
        neck=opening,
        back=_back(half, depth, sizes.top),
        lapels=_lapels(half, depth, sizes.top) if neck == "collar" else (),
        lines=(*_seams(category, sizes, right, hem), *placket),
        buttons=_buttons(sizes.top + depth, hem) if neck == "collar" else np.zeros((0, 2)),
        chest=(0.5, sizes.armpit_y + (0.01 if category == "dress" else 0.05)),
    )


def smooth(points: Points, rounds: int = 3) -> Points:
    """Rounds an open line's corners by cutting them (Chaikin, 1974); its ends stay."""
    for _ in range(rounds):
        near = 0.75 * points[:-1] + 0.25 * points[1:]
        far = 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([near, far], 1).reshape(-1, 2)
        points = np.concatenate([points[:1], inner, points[-1:]])
    return points


def _side(
    category: str, sizes: _Cut, half: float, hem: float, flare: float, *, bare: bool
) -> Points:
    """The right edge from the neck's corner to the middle of the hem, x from the centre."""
    tip = max(sizes.shoulder - (0.035 if bare else 0.0), half + 0.02)
    shoulder = [(half, sizes.top), (tip, sizes.top + _SLOPE * tip / sizes.shoulder)]
    dip = (tip - 0.012, 0.45 * sizes.top + 0.55 * sizes.armpit_y) if bare else shoulder[1]
    armhole = smooth(np.array([shoulder[1], dip, (sizes.chest, sizes.armpit_y)]), 2)
    heights = np.linspace(sizes.armpit_y, hem, 12)
    edge = np.stack([_width(category, sizes, heights, flare), heights], 1)
    sag = {"dress": 0.02, "shirt": 0.022, "toptee": 0.012}[category]
    bottom = smooth(np.array([edge[-1], (0.5 * edge[-1, 0], hem + sag), (0.0, hem + sag)]), 2)
    return np.concatenate([np.array(shoulder[:1]), armhole, edge[1:], bottom[1:]])


def _width(
    category: str, sizes: _Cut, heights: Float[np.ndarray, " heights"], flare: float
) -> Float[np.ndarray, " heights"]:
    """Half width at each height; a dress goes on widening below the hip."""
    grown = {"dress": 0.10 + 0.13 * flare, "shirt": 0.005, "toptee": 0.02 + 0.05 * flare}[category]
    knots = [
        (sizes.chest, sizes.armpit_y),
        (sizes.waist, sizes.waist_y),
        (sizes.hip, sizes.hip_y),
        (sizes.hip + grown, 1.0),
    ]
    widths, at = smooth(np.array(knots), 2).T
    line: Float[np.ndarray, " heights"] = np.interp(heights, at, widths)
    return line


def _both(right: Points) -> Points:
    """The closed outline from its right half."""
    return _centred(np.concatenate([right, _mirrored(right[::-1])]))


def _mirrored(points: Points) -> Points:
    """The left-hand piece of a right-hand one, x from the centre."""
    return np.stack([-points[:, 0], points[:, 1]], 1)


def _centred(points: Points) -> Points:
    """From x that counts from the centre to x in the unit square."""
    return np.stack([points[:, 0] + 0.5, points[:, 1]], 1)


def _sleeves(sizes: _Cut, sleeves: str, angle: float) -> tuple[Points, ...]:
    if sleeves == "none":
        return ()
    share = _SHORT_SLEEVE if sleeves == "short" else 1.0
    angle += 0.16 if sleeves == "short" else 0.0
    along = np.array([np.sin(angle), np.cos(angle)])
    across = np.array([along[1], -along[0]])
    tip = np.array([sizes.shoulder, sizes.top + _SLOPE])
    pit = np.array([sizes.chest - 0.004, sizes.armpit_y + 0.015])
    wide = 0.5 * float(np.linalg.norm(pit - tip))
    end_half = wide + (sizes.cuff - wide) * (0.35 if sleeves == "short" else 1.0)
    end = 0.5 * (tip + pit) + along * sizes.arm * share
    inside = np.array([sizes.shoulder - 0.05, sizes.top + 0.04])
    outer = smooth(np.array([tip, tip + along * 0.08 + across * 0.012, end + across * end_half]), 2)
    right = np.concatenate([inside[None], outer, (end - across * end_half)[None], pit[None]])
    return _centred(right), _centred(_mirrored(right))


def _opening(neck: str, half: float, depth: float, top: float) -> Points:
    above = top - 0.03
    if neck in ("v", "collar"):
        edge = np.array([(-half, top), (0.0, top + depth), (half, top)])
    else:
        turn = np.linspace(np.pi, 0, 15)
        edge = np.stack([half * np.cos(turn), top + depth * np.sin(turn)], 1)
    rim = np.array([(half, above), (-half, above)])
    return _centred(np.concatenate([edge, rim]))


def _back(half: float, depth: float, top: float) -> Points:
    turn = np.linspace(np.pi, 0, 11)
    behind = np.stack([half * np.cos(turn), top + 0.25 * min(depth, 0.06) * np.sin(turn)], 1)
    low = np.array([(half, top + depth + 0.01), (-half, top + depth + 0.01)])
    return _centred(np.concatenate([behind, low]))


def _lapels(half: float, depth: float, top: float) -> tuple[Points, Points]:
    right = np.array(
        [
            (half - 0.012, top - 0.018),
            (half + 0.016, top + 0.012),
            (half + 0.008, top + depth * 0.95),
            (0.004, top + depth * 0.92),
        ]
    )
    return _centred(right), _centred(_mirrored(right))


def _seams(category: str, sizes: _Cut, right: Points, hem: float) -> list[Points]:
    """The hem's stitching, and for a dress the waist and the folds of the skirt."""
    low = right[right[:, 1] > hem - 1e-9]
    stitch = np.concatenate([low, _mirrored(low[::-1])]) * (0.98, 1.0) - (0.0, 0.018)
    if category != "dress":
        return [_centred(stitch)]
    waist = np.linspace(-sizes.waist, sizes.waist, 9)
    bow = sizes.waist_y + 0.008 * (1 - (waist / sizes.waist) ** 2)
    edge = float(low[0, 0])
    folds = [
        np.array([(share * sizes.waist, sizes.waist_y + 0.05), (share * edge, hem)])
        for share in (-0.62, -0.2, 0.25, 0.66)
    ]
    return [_centred(line) for line in (stitch, np.stack([waist, bow], 1), *folds)]


def _placket(sizes: _Cut, depth: float, hem: float) -> list[Points]:
    """The two edges of a shirt's button band."""
    ends = sizes.top + depth, hem + 0.02
    return [np.array([(0.5 + x, ends[0]), (0.5 + x, ends[1])]) for x in (-0.016, 0.016)]


def _buttons(top: float, hem: float) -> Points:
    heights = np.arange(top + 0.03, hem - 0.02, 0.085)
    return np.stack([np.full(len(heights), 0.5), heights], 1)
