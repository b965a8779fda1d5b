"""Proposed pairs of a catalogue's photos in words: their attributes write the captions.

The protocol is that of `cir.sources.pairing`: reference and target are of one category of the
catalogue and show two products; they differ in one or two attributes that the target's record
states, and every photo with the target's attributes, but for those of the reference's product, is a
target too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cir.data.pairs import CATALOG_SOURCE, LeftOutPair, ProposedPair
from cir.errors import UsageError
from cir.sources.annotations import PhotoRecord
from cir.sources.catalog.splits import POOLED
from cir.sources.pairing import MOST_TARGETS
from cir.sources.wording import Change, captions

_MOST_CHANGES: Final = 2
"""Attributes in which the photos of a query differ, as in `cir.sources.pairing`."""

_Key = tuple[str, frozenset[tuple[str, str]]]
"""The catalogue's category of a photo, and its attributes."""
_Query = tuple[str, _Key]
"""The reference, and what the photos that fit have."""


@dataclass(frozen=True)
class CaptionedPairs:
    """The pairs that can be worded, and the others."""

    pairs: tuple[ProposedPair, ...]
    left_out: tuple[LeftOutPair, ...]


def caption_pairs(
    pairs: Sequence[ProposedPair], records: Mapping[str, PhotoRecord], *, seed: int
) -> CaptionedPairs:
    """Words pairs by what their photos' records say; of those that make one query, the first.

    Args:
        pairs: Captions that they have are replaced.
        records: What is known of each photo of the training split, by its id.
        seed: Decides the words.

    Raises:
        UsageError: there are no pairs.
    """
    if not pairs:
        raise UsageError("`pairs` is empty; expected a pair or more to word")
    alike: dict[_Key, list[str]] = defaultdict(list)
    for photo in sorted(records):
        alike[_key(records[photo])].append(photo)
    rng = np.random.default_rng(seed)
    worded, left_out, asked = [], [], set[_Query]()
    for pair in pairs:
        reason = _reason(pair, records, alike)
        if not reason and _query(pair, records) in asked:
            reason = "the query of an earlier pair: its reference, and the same photos fit"
        if reason:
            left_out.append(LeftOutPair(pair, reason))
        else:
            asked.add(_query(pair, records))
            worded.append(_worded(pair, records, alike, rng))
    return CaptionedPairs(tuple(worded), tuple(left_out))


def _key(record: PhotoRecord) -> _Key:
    return record.own_category or record.category, frozenset(record.attributes.items())


def _query(pair: ProposedPair, records: Mapping[str, PhotoRecord]) -> _Query:
    return pair.reference_id, _key(records[pair.target_id])


def _reason(
    pair: ProposedPair, records: Mapping[str, PhotoRecord], alike: Mapping[_Key, Sequence[str]]
) -> str:
    """Why a pair cannot be worded; empty where it can."""
    if not {pair.reference_id, pair.target_id} <= records.keys():
        return "a photo that the training split has no record of"
    reference, target = records[pair.reference_id], records[pair.target_id]
    if _key(reference)[0] != _key(target)[0]:
        return "photos of two categories"
    if target.category == POOLED and not target.own_category:
        return f"of {POOLED!r}, and the dataset does not record of which category: make it again"
    if _product(pair.reference_id, records) == _product(pair.target_id, records):
        return "two photos of one product"
    changes = _changes(reference, target)
    if reference.attributes.keys() - target.attributes.keys():
        return "an attribute that the target does not state"
    if not changes:
        return "the same attributes"
    if len(changes) > _MOST_CHANGES:
        return f"more than {_MOST_CHANGES} attributes differ"
    if len(_fitting(pair, records, alike)) > MOST_TARGETS:
        return f"more than {MOST_TARGETS} photos fit"
    return ""


def _product(photo: str, records: Mapping[str, PhotoRecord]) -> str:
    return records[photo].product or photo


def _fitting(
    pair: ProposedPair, records: Mapping[str, PhotoRecord], alike: Mapping[_Key, Sequence[str]]
) -> list[str]:
    """The photos that have what the target has, and show another product than the reference."""
    product = _product(pair.reference_id, records)
    return [
        photo
        for photo in alike[_key(records[pair.target_id])]
        if _product(photo, records) != product
    ]


def _changes(reference: PhotoRecord, target: PhotoRecord) -> list[Change]:
    """What the target states and the reference does not, facet by facet."""
    before = reference.attributes
    return [
        Change(facet, before.get(facet), value)
        for facet, value in sorted(target.attributes.items())
        if before.get(facet) != value
    ]


def _worded(
    pair: ProposedPair,
    records: Mapping[str, PhotoRecord],
    alike: Mapping[_Key, Sequence[str]],
    rng: np.random.Generator,
) -> ProposedPair:
    reference, target = records[pair.reference_id], records[pair.target_id]
    return replace(
        pair,
        category=target.category,
        captions=captions(_changes(reference, target), rng),
        target_ids=tuple(dict.fromkeys((pair.target_id, *_fitting(pair, records, alike)))),
        source=CATALOG_SOURCE,
    )
