"""Rows of manifests as cards of photos, and the choice of the rows that a page shows."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison
from cir.artefacts.manifest_statistics import hardest, owners, starved
from cir.reporting.album import Album
from cir.reporting.cards import Card, Row, Tag, negative, targets_shown
from cir.reporting.comparison_tables import AFTER, BEFORE, MOST_CHANGED
from cir.reporting.manifest_tables import HARDEST, NEGATIVES
from cir.types import KINDS

HARDEST_TAG, STARVED_TAG, CHANGED_TAG = "hardest", "starved", "changed most"
_SEED: Final = 0
"""Of the choice of rows: the same manifest always shows the same ones."""
_NEGATIVES_SHOWN: Final = 10
"""Negatives of a row that are shown, the nearest first; the page says how many there are."""


def manifest_triplets(manifest: Manifest, album: Album, most: int) -> list[Card]:
    """The hardest rows, then others spread evenly over categories and kinds."""
    first = hardest(manifest, HARDEST)
    tags = _tags(manifest, first, HARDEST_TAG)
    return [
        _card(manifest, row, album, tags[row], [_row(NEGATIVES, manifest, row, album, {})])
        for row in spread_rows(manifest, first, most).tolist()
    ]


def comparison_triplets(joined: ManifestComparison, album: Album, most: int) -> list[Card]:
    """The rows that changed most, then others spread evenly over categories and kinds."""
    first = joined.most_changed(MOST_CHANGED)
    tags = _tags(joined.after, first, CHANGED_TAG)
    return [
        _card(joined.after, row, album, tags[row], _exchanged(joined, row, album))
        for row in spread_rows(joined.after, first, most).tolist()
    ]


def _tags(manifest: Manifest, first: Int64[np.ndarray, " first"], foremost: str) -> list[list[Tag]]:
    """The words on each row's card: those of `first` are the foremost, and some are starved."""
    tags: list[list[Tag]] = [[] for _ in range(len(manifest))]
    for row in first.tolist():
        tags[row].append(Tag(foremost, "lost"))
    for row in np.flatnonzero(starved(manifest)).tolist():
        tags[row].append(Tag(STARVED_TAG, "warned"))
    return tags


def spread_rows(
    manifest: Manifest, first: Int64[np.ndarray, " first"], most: int
) -> Int64[np.ndarray, " chosen"]:
    """Up to `most` rows: those of `first`, then the others evenly over categories and kinds.

    A row belongs to every pair of its category and a kind of its negatives. The pairs take turns
    in choosing the next of their rows, which wait in an order drawn by a fixed seed.
    """
    every = np.random.default_rng(_SEED).permutation(len(manifest))
    present = _kinds_present(manifest)
    categories = np.array(manifest.categories)
    queues = [
        every[(categories[every] == category) & present[every, kind]]
        for category in np.unique(categories)
        for kind in range(present.shape[1])
    ]
    turns = np.concatenate([np.arange(len(queue)) for queue in queues])
    in_turn = np.concatenate(queues)[np.argsort(turns, kind="stable")]
    chosen = dict.fromkeys([*first.tolist(), *in_turn.tolist()])
    return np.array(list(chosen)[:most], dtype=np.int64)


def _kinds_present(manifest: Manifest) -> Bool[np.ndarray, "queries kinds_or_none"]:
    """Whether each row has negatives of each kind, and, in the last column, none at all."""
    present = np.zeros((len(manifest), len(KINDS) + 1), dtype=np.bool_)
    present[owners(manifest), manifest.negative_kinds] = True
    present[:, -1] = manifest.negative_counts == 0
    return present


def _card(
    manifest: Manifest, row: int, album: Album, tags: Sequence[Tag], rows: Sequence[Row]
) -> Card:
    target = manifest.target_ids[row]
    return Card(
        query_id=manifest.query_ids[row],
        category=manifest.categories[row],
        captions=manifest.captions[row],
        tags=tags,
        reference=album.photo(manifest.reference_ids[row]),
        targets=targets_shown([target], album),
        accepted=1,
        rows=rows,
    )


def _exchanged(joined: ManifestComparison, row: int, album: Album) -> list[Row]:
    """A row's negatives before and after, each marked by what became of it."""
    was, now = (set(_ids(manifest, row)) for manifest in (joined.before, joined.after))
    marks = dict.fromkeys(was - now, "gone") | dict.fromkeys(now - was, "new")
    marks |= dict.fromkeys(was & now, "kept")
    return [
        _row(BEFORE, joined.before, row, album, marks),
        _row(AFTER, joined.after, row, album, marks),
    ]


def _row(title: str, manifest: Manifest, row: int, album: Album, marks: Mapping[str, str]) -> Row:
    """The nearest negatives of a row, each with the mark that its id has."""
    positions = manifest.negative_positions.of(row)
    order = np.argsort(manifest.negative_distances[positions], kind="stable")[:_NEGATIVES_SHOWN]
    photos = [
        negative(manifest, position, row, album, marks.get(manifest.negative_ids[position], ""))
        for position in positions[order].tolist()
    ]
    return Row(title.capitalize(), _detail(manifest, row, len(photos)), photos)


def _detail(manifest: Manifest, row: int, shown: int) -> str:
    count = int(manifest.negative_counts[row])
    detail = (
        f"target at distance {manifest.target_distances[row]:.4f}, "
        f"rank {manifest.target_ranks[row]:,}; {manifest.candidates_in_band[row]:,} in band"
    )
    return detail if shown == count else f"{detail}; nearest {shown} of {count:,} negatives"


def _ids(manifest: Manifest, row: int) -> list[str]:
    return [manifest.negative_ids[position] for position in manifest.negative_positions.of(row)]
