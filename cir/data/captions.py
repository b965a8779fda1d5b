"""Captions into text: the strings that a query's captions stand for.

FashionIQ gives two captions a query. Training draws one of "a and b", "b and a", a, b, a quarter
each; evaluation uses "a and b" (Baldrati et al., CLIP4Cir, CVPR 2022 workshops, section 4.1).
"""

from collections.abc import Sequence

from cir.errors import DatasetError

_EDGES = " \t\r\n.,?!;"
_JOINT = " and "


def joined(captions: Sequence[str]) -> str:
    """The text of evaluation, "a and b"; empty where every caption is."""
    return _JOINT.join(_stated(captions))


def both_orders(captions: Sequence[str]) -> tuple[str, ...]:
    """Both "a and b" and "b and a"; one text where there is one caption."""
    stated = _stated(captions)
    return tuple(dict.fromkeys((_JOINT.join(stated), _JOINT.join(reversed(stated)))))


def variants(captions: Sequence[str]) -> tuple[str, ...]:
    """The texts that training draws from, each equally often: both orders, then each alone."""
    return tuple(dict.fromkeys((*both_orders(captions), *_stated(captions))))


def _stated(captions: Sequence[str]) -> list[str]:
    """The captions that are not empty, without the punctuation at their edges."""
    if isinstance(captions, str):
        raise DatasetError(f"`captions` is the text {captions!r}; expected a list of texts")
    return [text for text in (caption.strip(_EDGES) for caption in captions) if text]
