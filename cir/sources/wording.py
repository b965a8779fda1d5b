"""The difference between two photos in words: attributes that changed become two captions.

A caption is one or two verb phrases about the wanted photo ("is navy blue instead of black and has
stripes"), as people wrote FashionIQ's. `cir.sources.vocabulary` holds the words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cir.errors import UsageError
from cir.sources.nouns import with_article
from cir.sources.vocabulary import SHOWN_FACETS, are_worded, templates_of, words_of


@dataclass(frozen=True)
class Change:
    """One attribute that differs between the reference and the target."""

    facet: str
    """What differs: colour, pattern, sleeves, or the name of a catalogue's column."""
    old: str | None
    """The reference's value; None where its catalogue entry does not state one."""
    new: str
    """The target's value."""


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

    Raises:
        UsageError: there is no change.
    """
    if not changes:
        raise UsageError("`changes` is empty; expected a change or more to word")
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
    words = {facet: words_of(facet, value) for facet, value in attributes.items()}
    adjectives = [value.title for value in words.values() if value.title]
    extras = [
        value.noun
        for facet, value in words.items()
        if not value.title and facet in SHOWN_FACETS and _worth_a_word(facet, attributes[facet])
    ]
    noun = " ".join([attributes["colour"], *adjectives, garment])
    return with_article(noun) + (f" with {_enumerated(extras)}" if extras else "")


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
    words = words_of(change.facet, change.new)
    noun = words.noun if are_worded(change.facet, change.new) else change.new
    templates = templates_of(change.facet, change.new).plain
    return [*(template.format(new=noun) for template in templates), *words.sentences]


def _contrast(change: Change) -> list[str]:
    if change.old is None:
        return []
    new, old = change.new, change.old
    if are_worded(change.facet, new, old):
        new, old = words_of(change.facet, new).noun, words_of(change.facet, old).noun
    templates = templates_of(change.facet, change.new, change.old).contrast
    if new.startswith(_ABSENT) or old.startswith(_ABSENT):
        templates = tuple(t for t in templates if not t.startswith(("comes", "swaps")))
    return [template.format(new=new, old=old) for template in templates]


def _worth_a_word(facet: str, value: str) -> bool:
    """Whether a title names the value: what is plain or absent goes without saying."""
    return (facet, value) not in {("pattern", "solid"), ("graphic", "none")}


def _enumerated(words: Sequence[str]) -> str:
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last
