"""Captions into text."""

import pytest

from cir.data.captions import both_orders, joined, variants
from cir.errors import DatasetError


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (("is red", "has sleeves"), "is red and has sleeves"),
        ((" is red. ", "has sleeves?"), "is red and has sleeves"),
        (("", "has sleeves"), "has sleeves"),
        ((".", "."), ""),
        ((), ""),
    ],
)
def test_joined(captions: tuple[str, ...], expected: str) -> None:
    assert joined(captions) == expected


def test_variants_are_both_orders_and_each_alone() -> None:
    assert variants(("a", "b")) == ("a and b", "b and a", "a", "b")
    assert both_orders(("a", "b")) == ("a and b", "b and a")


def test_one_stated_caption_has_one_variant() -> None:
    assert variants(("", "b.")) == ("b",)
    assert both_orders(("a",)) == ("a",)


def test_one_text_is_no_list_of_captions() -> None:
    with pytest.raises(DatasetError, match="`captions` is the text 'is red'"):
        joined("is red")
