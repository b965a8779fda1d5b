"""The words for attributes: verb phrases about a facet, and nouns and sentences for its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cir.sources.nouns import one_of, with_article


@dataclass(frozen=True)
class Templates:
    """Verb phrases about one facet: `{new}` and `{old}` stand for the nouns of its values."""

    plain: tuple[str, ...]
    """What the target is, without a word about the reference."""
    contrast: tuple[str, ...]
    """What the target is, and what it is not any more."""


_TEMPLATES: Final[Mapping[str, Templates]] = MappingProxyType(
    {
        "colour": Templates(
            ("is {new}", "is {new} in colour", "comes in {new}", "is the same in {new}"),
            (
                "is {new} instead of {old}",
                "is {new} and not {old}",
                "comes in {new} rather than {old}",
                "changes from {old} to {new}",
            ),
        ),
        "type": Templates(
            ("is {new}", "shows {new}", "should be {new}"),
            ("is {new} instead of {old}", "is {new} rather than {old}", "is {new}, not {old}"),
        ),
        "gender": Templates(
            ("is for {new}", "is made for {new}", "is meant for {new}"),
            (
                "is for {new} instead of {old}",
                "is made for {new} and not {old}",
                "is meant for {new} rather than {old}",
            ),
        ),
        "season": Templates(
            ("is for {new}", "suits the {new} season"),
            ("is for {new} instead of {old}", "suits {new} more than {old}"),
        ),
        "usage": Templates(
            ("is for {new} wear", "suits a {new} occasion", "is more {new}"),
            ("is {new} instead of {old}", "is for {new} rather than {old} wear"),
        ),
        "brand": Templates(
            ("is by {new}", "is made by {new}"),
            ("is by {new} instead of {old}", "is made by {new} rather than {old}"),
        ),
        "fit": Templates(
            ("has a {new} fit", "is cut for a {new} fit", "fits {new}"),
            ("has a {new} fit instead of a {old} one", "is {new} in fit rather than {old}"),
        ),
        "material": Templates(
            ("is made of {new}", "is {new}", "comes in {new}"),
            (
                "is made of {new} instead of {old}",
                "is {new} rather than {old}",
                "comes in {new} and not {old}",
            ),
        ),
        "age": Templates(
            ("is for {new}", "is made for {new}", "comes in a child's size"),
            ("is for {new} instead of {old}",),
        ),
        "pack": Templates(
            ("comes in a pack of {new}", "is a pack of {new}", "has {new} in the pack"),
            ("comes in a pack of {new} instead of {old}", "has {new} in the pack, not {old}"),
        ),
    }
)

_HAVING: Final = Templates(
    ("has {new}", "comes with {new}", "shows {new}"),
    (
        "has {new} instead of {old}",
        "has {new} rather than {old}",
        "comes with {new} and not {old}",
        "swaps {old} for {new}",
    ),
)
"""Templates for a value that is a thing: stripes, a hood."""

SHOWN_FACETS: Final = frozenset(
    {"pattern", "sleeves", "neck", "length", "graphic", "hood", "finish", "closure", "dial", "heel"}
)
"""The facets whose values are things that a photo shows: `_HAVING` holds their templates."""


@dataclass(frozen=True)
class ValueWords:
    """The words for one value of a facet."""

    noun: str
    """After "has" and "with"; the word of contrasts."""
    sentences: tuple[str, ...] = ()
    """Whole verb phrases beside those of the templates."""
    title: str = ""
    """Adjective before the garment's name in a title; empty where the noun follows "with"."""


_WORDS: Final[Mapping[tuple[str, str], ValueWords]] = MappingProxyType(
    {
        ("pattern", "solid"): ValueWords(
            "a solid pattern", ("is solid", "is plain", "is unpatterned")
        ),
        ("pattern", "striped"): ValueWords(
            "stripes", ("is striped", "has a striped pattern"), "striped"
        ),
        ("pattern", "horizontal stripes"): ValueWords(
            "horizontal stripes",
            ("is striped across", "has stripes that run sideways"),
            "horizontally striped",
        ),
        ("pattern", "vertical stripes"): ValueWords(
            "vertical stripes",
            ("is striped from top to bottom", "has stripes that run up and down"),
            "vertically striped",
        ),
        ("pattern", "checked"): ValueWords(
            "checks", ("is checked", "has a checked pattern", "is plaid"), "checked"
        ),
        ("pattern", "printed"): ValueWords("a print", ("is printed", "has a printed design")),
        ("pattern", "graphic"): ValueWords(
            "a graphic", ("has a graphic on it", "is a graphic one")
        ),
        ("pattern", "logo"): ValueWords("a logo", ("shows a logo", "has a logo on it")),
        ("pattern", "floral"): ValueWords(
            "flowers", ("is floral", "has a flower pattern", "has a floral print"), "floral"
        ),
        ("pattern", "dotted"): ValueWords(
            "polka dots", ("is dotted", "has dots all over", "is polka dotted"), "polka dot"
        ),
        ("sleeves", "none"): ValueWords(
            "no sleeves", ("is sleeveless", "leaves the arms bare"), "sleeveless"
        ),
        ("sleeves", "short"): ValueWords("short sleeves", ("is short sleeved", "has half sleeves")),
        ("sleeves", "long"): ValueWords("long sleeves", ("is long sleeved", "has full sleeves")),
        ("neck", "polo"): ValueWords("a polo collar", ("is a polo", "is polo style")),
        ("neck", "collar"): ValueWords("a collar", ("is collared", "has a shirt collar")),
        ("neck", "v"): ValueWords("a v-neck", ("is v-necked", "has a v shaped neckline")),
        ("neck", "round"): ValueWords("a round neck", ("has a crew neck", "has a round neckline")),
        ("neck", "boat"): ValueWords("a boat neck", ("has a wide neckline", "is boat necked")),
        ("neck", "high"): ValueWords("a high neck", ("has a turtleneck", "is high necked")),
        ("neck", "henley"): ValueWords("a henley neck", ("is a henley", "is henley style")),
        ("neck", "mandarin"): ValueWords("a mandarin collar", ("has a stand-up collar",)),
        ("length", "mini"): ValueWords("a short hem", ("ends above the knee", "is a mini dress")),
        ("length", "knee"): ValueWords("a knee-length hem", ("ends at the knee", "is knee-length")),
        ("length", "maxi"): ValueWords(
            "a floor-length hem", ("reaches the floor", "is a maxi dress", "is a long gown")
        ),
        ("length", "cropped"): ValueWords("a cropped hem", ("is cropped", "ends above the waist")),
        ("length", "regular"): ValueWords(
            "a regular hem", ("is of regular length", "ends at the hips")
        ),
        ("length", "tunic"): ValueWords(
            "a long hem", ("is tunic length", "is long and covers the hips")
        ),
        ("graphic", "none"): ValueWords(
            "no motif", ("is without a graphic", "has nothing on the chest", "has no graphic on it")
        ),
        ("hood", "hooded"): ValueWords("a hood", ("is hooded", "is a hooded one")),
        ("finish", "washed"): ValueWords(
            "a washed look", ("is washed", "has a faded, washed finish")
        ),
        ("finish", "distressed"): ValueWords("a distressed look", ("is distressed", "looks worn")),
        ("closure", "zip"): ValueWords("a zip", ("zips up", "closes with a zip")),
        ("closure", "buckle"): ValueWords("a buckle", ("closes with a buckle",)),
        ("closure", "laces"): ValueWords("laces", ("laces up", "closes with laces")),
        ("closure", "slip-on"): ValueWords("no laces", ("is a slip-on", "slips on")),
        ("closure", "velcro"): ValueWords("velcro straps", ("closes with velcro",)),
        ("dial", "analogue"): ValueWords("an analogue dial", ("is analogue", "has hands")),
        ("dial", "digital"): ValueWords("a digital display", ("is digital", "shows digits")),
        ("dial", "chronograph"): ValueWords("a chronograph dial", ("is a chronograph",)),
        ("heel", "wedge"): ValueWords("a wedge heel", ("has wedges", "is wedge heeled")),
        ("heel", "stiletto"): ValueWords("stiletto heels", ("is stiletto heeled",)),
        ("heel", "peep toe"): ValueWords("a peep toe", ("is open at the toe",)),
        ("gender", "female"): ValueWords("women"),
        ("gender", "male"): ValueWords("men"),
        ("gender", "woman"): ValueWords("women"),
        ("gender", "man"): ValueWords("men"),
        ("gender", "ladies"): ValueWords("women"),
        ("gender", "womens"): ValueWords("women"),
        ("gender", "mens"): ValueWords("men"),
        ("gender", "unisex"): ValueWords("everyone", ("is unisex", "suits men and women alike")),
        ("colour", "multi"): ValueWords(
            "many colours", ("is multicoloured", "has several colours")
        ),
    }
)


def templates_of(facet: str, *values: str) -> Templates:
    """The verb phrases about a change between values of a facet.

    A column may hold anything: adjectives, nouns, plurals. What this module has no words for is
    said in phrases that fit them all.
    """
    if (facet, values[0]) == ("colour", "multi"):
        return _HAVING
    if facet in SHOWN_FACETS:
        return _HAVING if are_worded(facet, *values) else _column_templates(facet)
    return _TEMPLATES.get(facet) or _column_templates(facet)


def are_worded(facet: str, *values: str) -> bool:
    """Whether the nouns of all values can stand where things do: not so for unknown words."""
    known = facet not in SHOWN_FACETS or facet == "graphic"
    return known or all((facet, value) in _WORDS for value in values)


def _column_templates(facet: str) -> Templates:
    """Templates for a column that this module knows nothing about, also whether it is plural."""
    likes = (f"is {{new}} in {facet}",) if facet in _IN_FACETS else (f"make the {facet} {{new}}",)
    return Templates(
        (f"the {facet} should be {{new}}", *likes),
        (
            f"the {facet} should be {{new}} instead of {{old}}",
            f"the {facet} should be {{new}}, not {{old}}",
        ),
    )


_IN_FACETS: Final = frozenset({"style", "shape", "design", "size"})
"""Columns whose values stand well before "in": modern in style."""


def words_of(facet: str, value: str) -> ValueWords:
    """The words for a value of a facet; its own name where none are listed."""
    known = _WORDS.get((facet, value))
    if known is not None:
        return known
    if facet == "type":
        return ValueWords(one_of(value))
    if facet == "graphic":
        return ValueWords(
            with_article(value),
            (f"has {with_article(value)} on the chest", f"shows {with_article(value)}"),
        )
    return ValueWords(value)
