"""Proposed pairs of a catalogue's photos in words: their attributes write the captions.

The protocol is that of `cir.sources.pairing`: reference and target differ in one or two attributes
that the target's record states, and every photo with the target's attributes is a target too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cir.data.pairs import LeftOutPair, ProposedPair
from cir.errors import UsageError
from cir.sources.annotations import PhotoRecord
from cir.sources.pairing import MOST_TARGETS
from cir.sources.wording import Change, captions

SOURCE: Final = "attributes of the catalogue"
"""Who wrote the captions."""
_MOST_CHANGES: Final = 2
"""Attributes in which the photos of a query differ, as in `cir.sources.pairing`."""

_Key = tuple[str, frozenset[tuple[str, str]]]
"""Category and attributes of a photo."""
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
    return record.category, frozenset(record.attributes.items())


def _query(pair: ProposedPair, records: Mapping[str, PhotoRecord]) -> _Query:
    return pair.reference_id, _key(records[pair.target_id])


def _reason(
    pair: ProposedPair, records: Mapping[str, PhotoRecord], alike: Mapping[_Key, Sequence[str]]
) -> str:
    """Why a pair cannot be worded; empty where it can."""
    if not {pair.reference_id, pair.target_id} <= records.keys():
        return "a photo that the training split has no record of"
    reference, target = records[pair.reference_id], records[pair.target_id]
    if reference.category != target.category:
        return "photos of two categories"
    changes = _changes(reference, target)
    if reference.attributes.keys() - target.attributes.keys():
        return "an attribute that the target does not state"
    if not changes:
        return "the same attributes"
    if len(changes) > _MOST_CHANGES:
        return f"more than {_MOST_CHANGES} attributes differ"
    if len(alike[_key(target)]) > MOST_TARGETS:
        return f"more than {MOST_TARGETS} photos fit"
    return ""


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
    fitting = (pair.target_id, *alike[_key(target)])
    return replace(
        pair,
        category=target.category,
        captions=captions(_changes(reference, target), rng),
        target_ids=tuple(dict.fromkeys(fitting)),
        source=SOURCE,
    )
