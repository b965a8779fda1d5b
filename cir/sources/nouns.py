"""English nouns: articles, and one thing of a kind that is named in the plural."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_PAIRS: Final = frozenset(
    {"boots", "briefs", "capris", "cufflinks", "flats", "flops", "glasses", "gloves", "heels"}
    | {"jeans", "jeggings", "leggings", "pants", "sandals", "shoes", "shorts", "slippers"}
    | {"socks", "stockings", "sunglasses", "tights", "trousers", "trunks"}
)
"""Things that come in twos and are named in the plural."""
_ODD_SINGULARS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tshirts": "t-shirt",
        "scarves": "scarf",
        "trunk": "pair of trunks",
        "loungewear": "piece of loungewear",
    }
)
_VOWEL: Final = re.compile(r"[aeio]|u(?!ni|se)")
"""What "an" stands before: umbrella, but not unisex."""


def with_article(noun: str) -> str:
    """The noun after "a" or "an"."""
    return f"{'an' if _VOWEL.match(noun.lower()) else 'a'} {noun}"


def one_of(kind: str) -> str:
    """One thing of a kind that a catalogue names in the plural: "Tshirts" is "a t-shirt"."""
    *before, last = kind.lower().split() or [""]
    if last in _PAIRS:
        return f"a pair of {kind.lower()}"
    return with_article(" ".join([*before, _singular(last)]))


def _singular(word: str) -> str:
    if word in _ODD_SINGULARS:
        return _ODD_SINGULARS[word]
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
