"""Differences in words."""

from itertools import product

import numpy as np
import pytest

from cir.errors import UsageError
from cir.sources.nouns import one_of, with_article
from cir.sources.synthetic.garments import SHARES
from cir.sources.wording import Change, captions, title

NAVY = Change("colour", "black", "navy blue")
STRIPES = Change("pattern", "solid", "striped")


def many(changes: list[Change], count: int = 200) -> list[tuple[str, str]]:
    return [captions(changes, np.random.default_rng(seed)) for seed in range(count)]


def test_one_change_is_said_twice_in_different_words() -> None:
    said = many([NAVY])
    assert all("navy blue" in a and "navy blue" in b and a != b for a, b in said)
    assert len(set(said)) > 8
    assert any("instead of black" in f"{a} {b}" for a, b in said)


def test_two_changes_are_both_stated_by_the_captions_together() -> None:
    for a, b in many([NAVY, STRIPES]):
        assert "navy" in f"{a} {b}"
        assert "strip" in f"{a} {b}"


def test_an_old_value_that_was_not_stated_is_not_invented() -> None:
    for pair in many([Change("pattern", None, "checked")]):
        assert not any(word in " ".join(pair) for word in ("None", "instead", "rather", "not"))


def test_the_same_generator_state_gives_the_same_words() -> None:
    assert many([NAVY, STRIPES], 20) == many([NAVY, STRIPES], 20)


def test_every_difference_of_garments_is_worded_without_gaps() -> None:
    for shares in SHARES.values():
        for facet, values in shares.items():
            for old, new in product(values, values):
                if old != new:
                    for caption in captions([Change(facet, old, new)], np.random.default_rng(1)):
                        assert caption.split()[0] in VERBS, caption
                        assert "{" not in caption


VERBS = [
    "is",
    "has",
    "comes",
    "shows",
    "swaps",
    "changes",
    "should",
    "reaches",
    "ends",
    "leaves",
    "suits",
    "closes",
    "zips",
    "laces",
    "fits",
]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("type", "shirts", "tshirts"), "a t-shirt"),
        (Change("gender", "men", "unisex"), "everyone"),
        (Change("season", "fall", "winter"), "winter"),
        (Change("fabric weight", "light", "heavy"), "heavy"),
        (Change("pack", None, "three"), "three"),
    ],
)
def test_columns_of_catalogues_are_worded(change: Change, expected: str) -> None:
    assert any(expected in f"{a} {b}" for a, b in many([change]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            Change("hues", "two-coloured", "one-coloured"),
            {
                "the hues should be one-coloured",
                "make the hues one-coloured",
                "the hues should be one-coloured instead of two-coloured",
                "the hues should be one-coloured, not two-coloured",
            },
        ),
        (
            Change("pattern", "striped", "geometric"),
            {
                "the pattern should be geometric",
                "make the pattern geometric",
                "the pattern should be geometric instead of striped",
                "the pattern should be geometric, not striped",
            },
        ),
        (
            Change("style", None, "modern"),
            {"the style should be modern", "is modern in style"},
        ),
    ],
)
def test_words_that_are_not_known_stand_in_phrases_that_fit_any(
    change: Change, said: set[str]
) -> None:
    assert {caption for pair in many([change]) for caption in pair} == said


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("Tshirts", "a t-shirt"),
        ("Watches", "a watch"),
        ("Dresses", "a dress"),
        ("Dress", "a dress"),
        ("Casual Shoes", "a pair of casual shoes"),
        ("Flip Flops", "a pair of flip flops"),
        ("Accessories", "an accessory"),
        ("Scarves", "a scarf"),
        ("Laptop Bag", "a laptop bag"),
        ("Umbrellas", "an umbrella"),
    ],
)
def test_one_of_a_kind(kind: str, one: str) -> None:
    assert one_of(kind) == one


@pytest.mark.parametrize(("noun", "worded"), [("orange", "an orange"), ("unisex", "a unisex")])
def test_articles(noun: str, worded: str) -> None:
    assert with_article(noun) == worded


def test_a_title_says_what_is_worth_a_word() -> None:
    garment = {
        "colour": "red",
        "pattern": "horizontal stripes",
        "sleeves": "long",
        "neck": "v",
        "length": "knee",
        "graphic": "none",
    }
    assert title("dress", garment) == (
        "a red horizontally striped dress with long sleeves, a v-neck and a knee-length hem"
    )
    plain = garment | {"colour": "orange", "pattern": "solid", "sleeves": "none"}
    assert title("dress", plain) == (
        "an orange sleeveless dress with a v-neck and a knee-length hem"
    )


def test_no_change_has_no_captions() -> None:
    with pytest.raises(UsageError, match="`changes` is empty"):
        captions([], np.random.default_rng(0))
