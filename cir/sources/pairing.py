"""Reference and target photos that differ in one or two attributes and agree in all others.

The protocol of Fashion200k (Han et al., "Automatic Spatially-aware Fashion Concept Discovery",
ICCV 2017, as Vo et al., CVPR 2019, turned it into queries): photos with the same attributes are
interchangeable as targets, so all of them count as a hit.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from cir.sources.wording import Change

MOST_TARGETS: Final = 20
"""Attributes that more photos have than this are no query: it would say too little."""
_ONE_CHANGE: Final = 0.5
"""Share of queries that change one attribute where photos for both sorts exist."""
_TRIES: Final = 6
"""Targets drawn for a query; the one that the fewest queries have so far is taken."""

Key = tuple[str | None, ...]
"""A photo's attributes: the value of every facet, None where it is unstated, and its category."""
_MASKED: Final = "*"


@dataclass(frozen=True)
class Pair:
    """One query: rows of the photos, and what changed."""

    reference: int
    targets: tuple[int, ...]
    """Every photo that fits; the first is the one to train on."""
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class PhotoGroup:
    """Photos that may answer each other's queries."""

    attributes: Sequence[Mapping[str, str]]
    """Facet to value of each photo; a facet may be left unstated."""
    categories: Sequence[str]
    """A query's photos are all of one category."""
    lookalikes: Sequence[Hashable]
    """Photos of equal value here are near-identical; none is a target of another."""


def pair_photos(
    group: PhotoGroup,
    references: Sequence[int],
    rng: np.random.Generator,
    *,
    at_most: int | None = None,
) -> list[Pair]:
    """One query for each entry of `references` that has a target, none twice.

    Args:
        group: The photos.
        references: Rows of reference photos, repeated for several queries each.
        rng: Draws the targets.
        at_most: Queries that suffice; the references after them go unused.
    """
    index = _Index(group)
    used: dict[int, set[Key]] = defaultdict(set)
    times: dict[Key, int] = defaultdict(int)
    pairs: list[Pair] = []
    for reference in references:
        if len(pairs) == at_most:
            break
        key = index.draw(reference, used[reference], times, rng)
        if key is not None:
            used[reference].add(key)
            times[key] += 1
            pairs.append(index.pair(reference, key, rng))
    return pairs


class _Index:
    """Photos by their attributes, and attributes by what they share when one or two are masked."""

    def __init__(self, group: PhotoGroup) -> None:
        self._group = group
        self._facets = sorted({facet for photo in group.attributes for facet in photo})
        self._photos: dict[Key, list[int]] = defaultdict(list)
        self._keys = [self._key(row) for row in range(len(group.attributes))]
        for row, key in enumerate(self._keys):
            self._photos[key].append(row)
        self._masks = [m for n in (1, 2) for m in combinations(range(len(self._facets)), n)]
        self._shared: dict[tuple[tuple[int, ...], Key], list[Key]] = defaultdict(list)
        for key in self._photos:
            for mask in self._masks:
                self._shared[mask, _masked(key, mask)].append(key)
        self._reachable: dict[Key, dict[tuple[int, ...], list[Key]]] = {}

    def draw(
        self,
        reference: int,
        used: set[Key],
        times: Mapping[Key, int],
        rng: np.random.Generator,
    ) -> Key | None:
        """Draws the attributes of a target, one or two changes away from the reference's.

        Args:
            reference: Row of the reference photo.
            used: Attributes that other queries of the reference have already.
            times: How many queries have each attributes so far.
            rng: Draws.
        """
        reachable = self._reachable_from(self._keys[reference])
        by_count = [[mask for mask in reachable if len(mask) == n] for n in (1, 2)]
        if not any(by_count):
            return None
        masks = by_count[int(rng.random() >= _ONE_CHANGE)] or by_count[0] or by_count[1]
        drawn = _draw_keys([reachable[mask] for mask in masks], rng)
        fit = [key for key in drawn if key not in used and self._targets(reference, key)]
        return min(fit, key=lambda key: times.get(key, 0), default=None)

    def pair(self, reference: int, key: Key, rng: np.random.Generator) -> Pair:
        """The query for photos with the attributes `key`, its first target drawn among them."""
        targets = self._targets(reference, key)
        first = targets[int(rng.integers(len(targets)))]
        before = self._keys[reference]
        return Pair(
            reference=reference,
            targets=(first, *(row for row in targets if row != first)),
            changes=tuple(
                Change(facet, old, new)
                for facet, old, new in zip(self._facets, before, key, strict=False)
                if old != new and new is not None
            ),
        )

    def _key(self, row: int) -> Key:
        photo = self._group.attributes[row]
        return (*(photo.get(facet) for facet in self._facets), self._group.categories[row])

    def _reachable_from(self, key: Key) -> dict[tuple[int, ...], list[Key]]:
        """Attributes that differ from `key` in the whole of a mask and nowhere else, by mask."""
        if key not in self._reachable:
            by_mask = {mask: self._differing(key, mask) for mask in self._masks}
            self._reachable[key] = {mask: keys for mask, keys in by_mask.items() if keys}
        return self._reachable[key]

    def _differing(self, key: Key, mask: tuple[int, ...]) -> list[Key]:
        return [
            other
            for other in self._shared[mask, _masked(key, mask)]
            if len(self._photos[other]) <= MOST_TARGETS
            and all(other[i] is not None and other[i] != key[i] for i in mask)
        ]

    def _targets(self, reference: int, key: Key) -> list[int]:
        lookalikes = self._group.lookalikes
        return [r for r in self._photos[key] if lookalikes[r] != lookalikes[reference]]


def _masked(key: Key, mask: tuple[int, ...]) -> Key:
    return tuple(_MASKED if i in mask else value for i, value in enumerate(key))


def _draw_keys(choices: Sequence[Sequence[Key]], rng: np.random.Generator) -> list[Key]:
    """Draws what to change, then to what; the root keeps one rich facet from ruling all."""
    weights = np.sqrt([len(keys) for keys in choices])
    masks = rng.choice(len(choices), size=_TRIES, p=weights / weights.sum())
    return [choices[m][int(rng.integers(len(choices[m])))] for m in masks]
