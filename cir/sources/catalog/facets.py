"""Facets of a product (pattern, neck), from the words of its name and from a catalogue's columns.

"Striped Polo T-shirt" is striped and a polo. A facet has at most one value; a name that says
nothing about it leaves it unstated, which is not the same as plain.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_NOT_ATTRIBUTES: Final = re.compile(r"\bu\.? ?s\.? polo( assn\.?)?|\bpolo assn\.?")
"""Names of makers that hold a word of the lists below."""

_WORDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "pattern": {
            "striped": r"strip(?:es?|p?ed|y)",
            "checked": r"checks?|checked|checkered|plaid|tartan",
            "floral": r"flowers?|floral",
            "dotted": r"polka(?: dots?)?|dots?|dotted",
            "graphic": r"graphics?",
            "printed": r"printed|prints?",
            "logo": r"logo",
            "solid": r"solids?|plain",
        },
        "sleeves": {
            "long": r"(?:full|long) sleeve[sd]?",
            "short": r"(?:half|short) sleeve[sd]?",
            "none": r"sleeveless",
        },
        "neck": {
            "v": r"v ?necks?",
            "round": r"(?:round|crew) ?necks?|crew",
            "high": r"(?:turtle|high|polo) ?necks?",
            "henley": r"henley",
            "mandarin": r"mandarin(?: collar)?",
            "polo": r"polos?",
            "collar": r"collar(?:ed)?",
        },
        "hood": {"hooded": r"hood(?:ed|ie|y)?"},
        "fit": {
            "slim": r"slim(?: ?fit)?",
            "regular": r"regular(?: ?fit)?",
            "comfort": r"comfort fit",
            "skinny": r"skinny(?: ?fit)?",
            "relaxed": r"(?:relaxed|loose)(?: ?fit)?",
        },
        "material": {
            "faux leather": r"leatherette|faux leather|pu leather",
            "leather": r"leather",
            "canvas": r"canvas",
            "denim": r"denim",
            "suede": r"suede",
            "silk": r"silk",
            "wool": r"wool(?:len)?",
            "linen": r"linen",
            "mesh": r"mesh",
            "lace": r"lace(?! ?up)",
            "corduroy": r"corduroy|cord",
            "knit": r"knit(?:ted)?",
            "polyester": r"polyester",
            "cotton": r"cotton",
        },
        "finish": {"distressed": r"distressed", "washed": r"washed|wash"},
        "closure": {
            "zip": r"zip(?:per|pered)?",
            "buckle": r"buckle",
            "laces": r"lace ?ups?",
            "slip-on": r"slip ?ons?",
            "velcro": r"velcro",
        },
        "dial": {
            "chronograph": r"chrono(?:graph)?",
            "digital": r"digital",
            "analogue": r"analogu?e?",
        },
        "heel": {"wedge": r"wedges?", "stiletto": r"stilettos?", "peep toe": r"peep ?toes?"},
        "age": {"kids": r"kids?'?s?"},
        "pack": {
            "two": r"pack of (?:2|two)",
            "three": r"pack of (?:3|three)",
            "four": r"pack of (?:4|four)",
            "five": r"pack of (?:5|five)",
        },
    }
)
"""Facet to value to the words that say it; where a name says two, the first listed stands."""

_PATTERNS: Final = {
    facet: [(value, re.compile(rf"\b(?:{words})\b")) for value, words in values.items()]
    for facet, values in _WORDS.items()
}


_FACET_OF_COLUMN: Final[Mapping[str, str]] = {
    "articletype": "type",
    "producttype": "type",
    "basecolour": "colour",
    "basecolor": "colour",
    "maincolour": "colour",
    "maincolor": "colour",
    "colourname": "colour",
    "colorname": "colour",
    "colours": "colour",
    "colors": "colour",
    "color": "colour",
    "farbe": "colour",
    "farben": "colour",
    "couleur": "colour",
    "couleurs": "colour",
    "kleur": "colour",
    "materials": "material",
    "patterns": "pattern",
    "styles": "style",
    "sex": "gender",
}
"""Columns that `cir.sources.wording` knows under another name."""

_LIST: Final = re.compile(r"\s*[,;|]\s*")
"""What stands between the members of a list in any column."""
_LISTED: Final = frozenset({"colour", "material"})
"""Facets of which a thing often has several values, listed in other ways too."""
_LOOSE_LIST: Final = re.compile(r"\s*(?:[,;/|+&]|\band\b)\s*")
_MOST_LISTED: Final = 3
"""Values that are named; of more colours, a thing is multicoloured."""


def facet_of(column: str) -> str:
    """The facet that a column of the catalogue states: `baseColour` is the colour."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", column).lower().strip()
    return _FACET_OF_COLUMN.get(spaced.replace(" ", ""), spaced) or "attribute"


def facet_value(facet: str, text: str) -> str:
    """The value that a field states, in lower case; of a list, its members in alphabetical order.

    "White,Pine" and "pine / white" are both "pine and white".
    """
    value = " ".join(text.lower().split())
    between = _LOOSE_LIST if facet in _LISTED else _LIST
    members = sorted({part for part in between.split(value) if part})
    if len(members) > _MOST_LISTED and facet == "colour":
        return "multi"
    *before, last = members[:_MOST_LISTED] or [value]
    return f"{', '.join(before)} and {last}" if before else last


def read_facets(name: str) -> dict[str, str]:
    """The facets that a product's name states, in the order of `_WORDS`."""
    text = _NOT_ATTRIBUTES.sub(" ", name.lower())
    text = " ".join(text.replace("-", " ").replace("_", " ").split())
    values = {facet: _first_value(patterns, text) for facet, patterns in _PATTERNS.items()}
    return {facet: value for facet, value in values.items() if value is not None}


def _first_value(patterns: list[tuple[str, re.Pattern[str]]], text: str) -> str | None:
    return next((value for value, pattern in patterns if pattern.search(text)), None)
