"""The difference between two photos in words: attributes that changed become two captions.

A caption is one or two verb phrases about the wanted photo ("is navy blue instead of black and has
stripes"), as people wrote FashionIQ's. Values that have their own words stand in `_SAYINGS`; every
other value is said by its facet's templates.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np


@dataclass(frozen=True)
class Change:
    """One attribute that differs between the reference and the target."""

    facet: str
    """What differs: colour, pattern, sleeves, or the name of a catalogue's column."""
    old: str | None
    """The reference's value; None where its catalogue entry does not state one."""
    new: str
    """The target's value."""


@dataclass(frozen=True)
class _Phrases:
    """Templates of one facet: `{new}` and `{old}` are the values' words."""

    plain: tuple[str, ...]
    """What the target is, without a word about the reference."""
    contrast: tuple[str, ...]
    """What the target is, and what it is not any more."""


_PHRASES: Final[Mapping[str, _Phrases]] = MappingProxyType(
    {
        "colour": _Phrases(
            ("is {new}", "is {new} in colour", "comes in {new}", "is the same in {new}"),
            (
                "is {new} instead of {old}",
                "is {new} and not {old}",
                "comes in {new} rather than {old}",
                "changes from {old} to {new}",
            ),
        ),
        "type": _Phrases(
            ("is {new}", "shows {new}", "should be {new}"),
            ("is {new} instead of {old}", "is {new} rather than {old}", "is {new}, not {old}"),
        ),
        "gender": _Phrases(
            ("is for {new}", "is made for {new}", "is meant for {new}"),
            (
                "is for {new} instead of {old}",
                "is made for {new} and not {old}",
                "is meant for {new} rather than {old}",
            ),
        ),
        "season": _Phrases(
            ("is for {new}", "suits the {new} season"),
            ("is for {new} instead of {old}", "suits {new} more than {old}"),
        ),
        "usage": _Phrases(
            ("is for {new} wear", "suits a {new} occasion", "is more {new}"),
            ("is {new} instead of {old}", "is for {new} rather than {old} wear"),
        ),
        "brand": _Phrases(
            ("is by {new}", "is made by {new}"),
            ("is by {new} instead of {old}", "is made by {new} rather than {old}"),
        ),
        "fit": _Phrases(
            ("has a {new} fit", "is cut for a {new} fit", "fits {new}"),
            ("has a {new} fit instead of a {old} one", "is {new} in fit rather than {old}"),
        ),
        "material": _Phrases(
            ("is made of {new}", "is {new}", "comes in {new}"),
            (
                "is made of {new} instead of {old}",
                "is {new} rather than {old}",
                "comes in {new} and not {old}",
            ),
        ),
        "age": _Phrases(
            ("is for {new}", "is made for {new}", "comes in a child's size"),
            ("is for {new} instead of {old}",),
        ),
        "pack": _Phrases(
            ("comes in a pack of {new}", "is a pack of {new}", "has {new} in the pack"),
            ("comes in a pack of {new} instead of {old}", "has {new} in the pack, not {old}"),
        ),
    }
)

_HAVING: Final = _Phrases(
    ("has {new}", "comes with {new}", "shows {new}"),
    (
        "has {new} instead of {old}",
        "has {new} rather than {old}",
        "comes with {new} and not {old}",
        "swaps {old} for {new}",
    ),
)
"""The templates of facets whose values are things that a photo shows: stripes, a hood."""

_HAD: Final = frozenset(
    {"pattern", "sleeves", "neck", "length", "graphic", "hood", "finish", "closure", "dial", "heel"}
)
"""The facets that `_HAVING` words."""


@dataclass(frozen=True)
class _Saying:
    """One value's own words."""

    noun: str
    """After "has" and "with"; the word of contrasts."""
    sentences: tuple[str, ...] = ()
    """Whole verb phrases beside those of the templates."""
    title: str = ""
    """Adjective before the garment's name in a title; empty where the noun follows "with"."""


_SAYINGS: Final[Mapping[tuple[str, str], _Saying]] = MappingProxyType(
    {
        ("pattern", "solid"): _Saying(
            "a solid pattern", ("is solid", "is plain", "is unpatterned")
        ),
        ("pattern", "striped"): _Saying(
            "stripes", ("is striped", "has a striped pattern"), "striped"
        ),
        ("pattern", "horizontal stripes"): _Saying(
            "horizontal stripes",
            ("is striped across", "has stripes that run sideways"),
            "horizontally striped",
        ),
        ("pattern", "vertical stripes"): _Saying(
            "vertical stripes",
            ("is striped from top to bottom", "has stripes that run up and down"),
            "vertically striped",
        ),
        ("pattern", "checked"): _Saying(
            "checks", ("is checked", "has a checked pattern", "is plaid"), "checked"
        ),
        ("pattern", "printed"): _Saying("a print", ("is printed", "has a printed design")),
        ("pattern", "graphic"): _Saying("a graphic", ("has a graphic on it", "is a graphic one")),
        ("pattern", "logo"): _Saying("a logo", ("shows a logo", "has a logo on it")),
        ("pattern", "floral"): _Saying(
            "flowers", ("is floral", "has a flower pattern", "has a floral print"), "floral"
        ),
        ("pattern", "dotted"): _Saying(
            "polka dots", ("is dotted", "has dots all over", "is polka dotted"), "polka dot"
        ),
        ("sleeves", "none"): _Saying(
            "no sleeves", ("is sleeveless", "leaves the arms bare"), "sleeveless"
        ),
        ("sleeves", "short"): _Saying("short sleeves", ("is short sleeved", "has half sleeves")),
        ("sleeves", "long"): _Saying("long sleeves", ("is long sleeved", "has full sleeves")),
        ("neck", "polo"): _Saying("a polo collar", ("is a polo", "is polo style")),
        ("neck", "collar"): _Saying("a collar", ("is collared", "has a shirt collar")),
        ("neck", "v"): _Saying("a v-neck", ("is v-necked", "has a v shaped neckline")),
        ("neck", "round"): _Saying("a round neck", ("has a crew neck", "has a round neckline")),
        ("neck", "boat"): _Saying("a boat neck", ("has a wide neckline", "is boat necked")),
        ("neck", "high"): _Saying("a high neck", ("has a turtleneck", "is high necked")),
        ("neck", "henley"): _Saying("a henley neck", ("is a henley", "is henley style")),
        ("neck", "mandarin"): _Saying("a mandarin collar", ("has a stand-up collar",)),
        ("length", "mini"): _Saying("a short hem", ("ends above the knee", "is a mini dress")),
        ("length", "knee"): _Saying("a knee-length hem", ("ends at the knee", "is knee-length")),
        ("length", "maxi"): _Saying(
            "a floor-length hem", ("reaches the floor", "is a maxi dress", "is a long gown")
        ),
        ("length", "cropped"): _Saying("a cropped hem", ("is cropped", "ends above the waist")),
        ("length", "regular"): _Saying(
            "a regular hem", ("is of regular length", "ends at the hips")
        ),
        ("length", "tunic"): _Saying(
            "a long hem", ("is tunic length", "is long and covers the hips")
        ),
        ("graphic", "none"): _Saying(
            "no motif", ("is without a graphic", "has nothing on the chest", "has no graphic on it")
        ),
        ("hood", "hooded"): _Saying("a hood", ("is hooded", "is a hooded one")),
        ("finish", "washed"): _Saying("a washed look", ("is washed", "has a faded, washed finish")),
        ("finish", "distressed"): _Saying("a distressed look", ("is distressed", "looks worn")),
        ("closure", "zip"): _Saying("a zip", ("zips up", "closes with a zip")),
        ("closure", "buckle"): _Saying("a buckle", ("closes with a buckle",)),
        ("closure", "laces"): _Saying("laces", ("laces up", "closes with laces")),
        ("closure", "slip-on"): _Saying("no laces", ("is a slip-on", "slips on")),
        ("closure", "velcro"): _Saying("velcro straps", ("closes with velcro",)),
        ("dial", "analogue"): _Saying("an analogue dial", ("is analogue", "has hands")),
        ("dial", "digital"): _Saying("a digital display", ("is digital", "shows digits")),
        ("dial", "chronograph"): _Saying("a chronograph dial", ("is a chronograph",)),
        ("heel", "wedge"): _Saying("a wedge heel", ("has wedges", "is wedge heeled")),
        ("heel", "stiletto"): _Saying("stiletto heels", ("is stiletto heeled",)),
        ("heel", "peep toe"): _Saying("a peep toe", ("is open at the toe",)),
        ("gender", "unisex"): _Saying("everyone", ("is unisex", "suits men and women alike")),
        ("colour", "multi"): _Saying("many colours", ("is multicoloured", "has several colours")),
    }
)

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
_ABSENT: Final = "no "
"""How the noun of an absence starts, which cannot be swapped or come with."""
_STATE_BOTH: Final = 0.4
"""Share of two-change queries whose captions both state both changes."""
_STATE_ONE_EACH: Final = 0.35
"""Share whose captions state one change each; in the rest, one states both."""
_CONTRAST: Final = 0.75
"""Share of one-change queries that name the old value in one of their captions."""


def captions(changes: Sequence[Change], rng: np.random.Generator) -> tuple[str, str]:
    """Two differently worded captions that together state every change.

    Args:
        changes: One change or more.
        rng: Decides the words; the same generator state gives the same captions.
    """
    if len(changes) == 1:
        return _of_one(changes[0], rng)
    drawn = rng.random()
    if drawn < _STATE_BOTH:
        forms = [_two_ways(change, rng) for change in changes]
        first, second = [f[0] for f in forms], [f[1] for f in forms[::-1]]
    elif drawn < _STATE_BOTH + _STATE_ONE_EACH:
        phrases = [_phrase(change, rng) for change in changes]
        first, second = phrases[:1], phrases[1:]
    else:
        forms = [_two_ways(change, rng) for change in changes]
        first, second = [f[0] for f in forms], [forms[int(rng.integers(len(forms)))][1]]
    return _shuffled(" and ".join(first), " and ".join(second), rng)


def title(garment: str, attributes: Mapping[str, str]) -> str:
    """A garment in plain words: "a red striped dress with long sleeves and a v-neck"."""
    said = {facet: _saying(facet, value) for facet, value in attributes.items()}
    adjectives = [saying.title for facet, saying in said.items() if saying.title]
    extras = [
        saying.noun
        for facet, saying in said.items()
        if not saying.title and facet in _HAD and _worth_a_word(facet, attributes[facet])
    ]
    named = " ".join([attributes["colour"], *adjectives, garment])
    return with_article(named) + (f" with {_listed(extras)}" if extras else "")


def with_article(noun: str) -> str:
    """The noun after "a" or "an"."""
    return f"{'an' if _VOWEL.match(noun.lower()) else 'a'} {noun}"


def one_of(kind: str) -> str:
    """One thing of a kind that a catalogue names in the plural: "Tshirts" is "a t-shirt"."""
    *before, last = kind.lower().split() or [""]
    if last in _PAIRS:
        return f"a pair of {kind.lower()}"
    return with_article(" ".join([*before, _singular(last)]))


def _of_one(change: Change, rng: np.random.Generator) -> tuple[str, str]:
    first, second = _two_ways(change, rng)
    return _shuffled(first, second, rng)


def _two_ways(change: Change, rng: np.random.Generator) -> tuple[str, str]:
    """Two phrases of one change; the second names the old value where the dice say so."""
    plain, contrast = _plain(change), _contrast(change)
    first, other = rng.permutation(len(plain))[:2]
    if contrast and rng.random() < _CONTRAST:
        return plain[first], contrast[int(rng.integers(len(contrast)))]
    return plain[first], plain[other]


def _phrase(change: Change, rng: np.random.Generator) -> str:
    return _two_ways(change, rng)[int(rng.integers(2))]


def _shuffled(first: str, second: str, rng: np.random.Generator) -> tuple[str, str]:
    return (first, second) if rng.random() < 0.5 else (second, first)


def _plain(change: Change) -> list[str]:
    saying = _saying(change.facet, change.new)
    return [t.format(new=saying.noun) for t in _phrases(change.facet, change.new).plain] + list(
        saying.sentences
    )


def _contrast(change: Change) -> list[str]:
    if change.old is None:
        return []
    new, old = _saying(change.facet, change.new).noun, _saying(change.facet, change.old).noun
    templates = _phrases(change.facet, change.new).contrast
    if new.startswith(_ABSENT) or old.startswith(_ABSENT):
        templates = tuple(t for t in templates if not t.startswith(("comes", "swaps")))
    return [template.format(new=new, old=old) for template in templates]


def _phrases(facet: str, value: str) -> _Phrases:
    if facet in _HAD or (facet, value) == ("colour", "multi"):
        return _HAVING
    return _PHRASES.get(facet) or _named_column(facet)


def _named_column(facet: str) -> _Phrases:
    """Templates for a column that this module knows nothing about."""
    return _Phrases(
        (f"has {{new}} as its {facet}", f"is {{new}} in {facet}"),
        (f"has {{new}} and not {{old}} as its {facet}", f"is {{new}} in {facet}, not {{old}}"),
    )


def _saying(facet: str, value: str) -> _Saying:
    known = _SAYINGS.get((facet, value))
    if known is not None:
        return known
    if facet == "type":
        return _Saying(one_of(value))
    if facet == "graphic":
        return _Saying(
            with_article(value),
            (f"has {with_article(value)} on the chest", f"shows {with_article(value)}"),
        )
    return _Saying(value)


def _worth_a_word(facet: str, value: str) -> bool:
    """Whether a title names the value: what is plain or absent goes without saying."""
    return (facet, value) not in {("pattern", "solid"), ("graphic", "none")}


def _listed(words: Sequence[str]) -> str:
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


def _singular(word: str) -> str:
    if word in _ODD_SINGULARS:
        return _ODD_SINGULARS[word]
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
