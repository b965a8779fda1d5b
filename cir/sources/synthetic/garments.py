"""What a synthetic garment may be: the facets of each category, their values and how common."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

Colour = tuple[int, int, int]

COLOURS: Final[Mapping[str, Colour]] = MappingProxyType(
    {
        "black": (38, 38, 42),
        "white": (244, 244, 242),
        "grey": (146, 148, 152),
        "beige": (218, 198, 164),
        "brown": (116, 76, 48),
        "red": (202, 34, 42),
        "orange": (240, 130, 34),
        "yellow": (246, 208, 52),
        "green": (44, 138, 72),
        "sky blue": (126, 190, 232),
        "navy blue": (32, 46, 106),
        "purple": (116, 58, 152),
        "pink": (244, 146, 182),
    }
)
"""Name to sRGB."""

GARMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {"dress": "dress", "shirt": "shirt", "toptee": "top"}
)
"""Category to the word for one garment of it."""

_PATTERNS: Final = {
    "solid": 0.34,
    "horizontal stripes": 0.15,
    "vertical stripes": 0.12,
    "checked": 0.14,
    "dotted": 0.12,
    "floral": 0.13,
}
_GRAPHICS: Final = {"none": 0.62, "heart": 0.1, "star": 0.1, "moon": 0.09, "bolt": 0.09}
_ANY_COLOUR: Final = dict.fromkeys(COLOURS, 1 / len(COLOURS))
_DRESS_LENGTHS: Final = {"mini": 0.35, "knee": 0.4, "maxi": 0.25}
_TOP_LENGTHS: Final = {"cropped": 0.25, "regular": 0.5, "tunic": 0.25}

SHARES: Final[Mapping[str, Mapping[str, Mapping[str, float]]]] = MappingProxyType(
    {
        "dress": {
            "colour": _ANY_COLOUR,
            "pattern": _PATTERNS,
            "sleeves": {"none": 0.5, "short": 0.28, "long": 0.22},
            "neck": {"round": 0.34, "v": 0.34, "boat": 0.2, "collar": 0.12},
            "length": _DRESS_LENGTHS,
            "graphic": {"none": 0.8, "heart": 0.06, "star": 0.06, "moon": 0.04, "bolt": 0.04},
        },
        "shirt": {
            "colour": _ANY_COLOUR,
            "pattern": _PATTERNS,
            "sleeves": {"none": 0.1, "short": 0.5, "long": 0.4},
            "neck": {"round": 0.34, "v": 0.24, "collar": 0.42},
            "length": _TOP_LENGTHS,
            "graphic": _GRAPHICS,
        },
        "toptee": {
            "colour": _ANY_COLOUR,
            "pattern": _PATTERNS,
            "sleeves": {"none": 0.34, "short": 0.38, "long": 0.28},
            "neck": {"round": 0.32, "v": 0.32, "boat": 0.24, "collar": 0.12},
            "length": _TOP_LENGTHS,
            "graphic": _GRAPHICS,
        },
    }
)
"""Category to facet to value to its share of the garments."""

_AKIN: Final = 0.5
"""Share of garments that are made from an earlier one by changing one or two facets."""


def draw_garments(category: str, count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Attributes of `count` garments, many of them akin, as in a shop's collection."""
    shares = SHARES[category]
    garments: list[dict[str, str]] = []
    for number in range(count):
        if garments and rng.random() < _AKIN:
            changed = rng.permutation(len(shares))[: rng.integers(1, 3)]
            facets = [list(shares)[i] for i in changed]
            base = garments[int(rng.integers(number))]
            garments.append(base | {facet: _value(shares[facet], rng) for facet in facets})
        else:
            garments.append({facet: _value(shares[facet], rng) for facet in shares})
    return garments


def _value(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
