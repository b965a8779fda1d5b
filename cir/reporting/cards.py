"""Queries as cards of photos: the query, and lines of the images retrieved or mined for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cir.artefacts.manifest import Manifest
from cir.data.queries import Query
from cir.reporting.album import Album, Photo
from cir.reporting.examples import Outcome, QueryExample, Ranking
from cir.reporting.run_record import RunRecord, mined_when
from cir.types import KINDS, SCOPES

_MINED_SHOWN: Final = 4
"""Queries whose mined negatives are shown."""
_NEGATIVES_SHOWN: Final = 5
_TARGETS_SHOWN: Final = 4
"""Targets of a query that are shown, in a square; more are counted."""

OUTCOME_TEXTS: Final[Mapping[Outcome, str]] = {
    "gained": "into the first five",
    "kept": "in the first five both times",
    "lost": "out of the first five",
    "missed": "in the first five neither time",
}


@dataclass(frozen=True)
class Tag:
    """A word on a card, and the tone of its colour."""

    text: str
    tone: str


@dataclass(frozen=True)
class Row:
    """A line of photos."""

    title: str
    detail: str
    photos: Sequence[Photo]


@dataclass(frozen=True)
class Card:
    """A query with its photos, and lines of photos beside them."""

    query_id: str
    category: str
    captions: Sequence[str]
    tags: Sequence[Tag]
    reference: Photo
    targets: Sequence[Photo]
    """Those that are shown."""
    accepted: int
    """How many photos count as a hit."""
    rows: Sequence[Row]

    @property
    def kinds(self) -> list[str]:
        """The kinds of its negatives, in the order of `KINDS`."""
        present = {photo.kind for row in self.rows for photo in row.photos}
        return [kind for kind in KINDS if kind in present]

    @property
    def more(self) -> int:
        """Targets that are not shown."""
        return self.accepted - len(self.targets)

    @property
    def answer(self) -> str:
        """What is said under the targets."""
        return "target" if self.accepted == 1 else f"any of {self.accepted:,} is accepted"


def targets_shown(target_ids: Sequence[str], album: Album) -> list[Photo]:
    """The targets that a card has room for, the one trained on first."""
    room = _TARGETS_SHOWN if len(target_ids) <= _TARGETS_SHOWN else _TARGETS_SHOWN - 1
    return [album.photo(target_id, hit=True) for target_id in target_ids[:room]]


def example_card(example: QueryExample, run: RunRecord, album: Album) -> Card:
    """A held-out query with what it retrieved before and after training."""
    query = example.query
    return Card(
        query_id=query.id,
        category=query.category,
        captions=query.captions,
        tags=[Tag(OUTCOME_TEXTS[example.outcome], example.outcome)],
        reference=album.photo(query.reference_id),
        targets=targets_shown(query.target_ids, album),
        accepted=len(query.target_ids),
        rows=(
            _ranking_row("Before: plain sum", example.before, query.target_ids, album),
            _ranking_row(f"After: epoch {run.best_epoch}", example.after, query.target_ids, album),
        ),
    )


def _ranking_row(title: str, ranking: Ranking, targets: Sequence[str], album: Album) -> Row:
    word = "target" if len(targets) == 1 else "accepted"
    photos = [
        album.photo(
            image_id,
            note=f"{rank} · {word}" if image_id in targets else str(rank),
            hit=image_id in targets,
        )
        for rank, image_id in enumerate(ranking.first, start=1)
    ]
    which = "target" if len(targets) == 1 else f"the first of {len(targets):,} targets"
    return Row(title, f"{which} at rank {ranking.rank:,}", photos)


def mined_cards(
    run: RunRecord, queries: Mapping[str, Query], album: Album, *, seed: int
) -> list[Card]:
    """The same queries in the first and the last manifest, drawn at random.

    Args:
        run: Has the manifests.
        queries: The dataset's, by their ids, for every target of a query; a manifest holds the one
            trained on, which alone is shown where the dataset has another query of that id by now.
        album: Has the photos.
        seed: Of the draw.
    """
    row_of = {query_id: row for row, query_id in enumerate(run.last.query_ids)}
    shared = [row for row, query_id in enumerate(run.first.query_ids) if query_id in row_of]
    drawn = np.random.default_rng(seed).permutation(shared)[:_MINED_SHOWN]
    return [
        _mined_card(run, int(row), row_of[run.first.query_ids[row]], queries, album)
        for row in sorted(drawn)
    ]


def _mined_card(
    run: RunRecord, first: int, last: int, queries: Mapping[str, Query], album: Album
) -> Card:
    manifest = run.first
    rows = [(manifest, first)] if run.last is manifest else [(manifest, first), (run.last, last)]
    query_id = manifest.query_ids[first]
    known = _targets(manifest, first, queries.get(query_id))
    return Card(
        query_id=query_id,
        category=manifest.categories[first],
        captions=manifest.captions[first],
        tags=(),
        reference=album.photo(manifest.reference_ids[first]),
        targets=targets_shown(known, album),
        accepted=len(known),
        rows=[_negatives_row(mined, row, album) for mined, row in rows],
    )


def _targets(manifest: Manifest, row: int, query: Query | None) -> Sequence[str]:
    """Every target of a mined query, as far as they are known."""
    mined = manifest.reference_ids[row], manifest.captions[row]
    if query is not None and (query.reference_id, query.captions) == mined:
        return query.target_ids
    return (manifest.target_ids[row],)


def _negatives_row(manifest: Manifest, row: int, album: Album) -> Row:
    positions = manifest.negative_positions.of(row)[:_NEGATIVES_SHOWN]
    photos = [negative(manifest, int(position), row, album) for position in positions]
    distance = float(manifest.target_distances[row])
    title = f"Mined {mined_when(manifest)}"
    return Row(title, f"target at distance {distance:.4f}; how much farther", photos)


def negative(manifest: Manifest, position: int, row: int, album: Album, mark: str = "") -> Photo:
    """The negative at a position of the manifest's flat fields, which belongs to a row.

    Its note is the distance to it minus the distance to the target.
    """
    kind = KINDS[manifest.negative_kinds[position]]
    gap = float(manifest.negative_distances[position]) - float(manifest.target_distances[row])
    return album.photo(
        manifest.negative_ids[position],
        note=f"{gap:+.4f}",
        kind=kind,
        scope=scope_of(manifest, position),
        mark=mark,
    )


def scope_of(manifest: Manifest, position: int) -> str:
    """Where a negative was drawn from; empty where all of the manifest were drawn from there."""
    return "" if manifest.has_one_scope else SCOPES[manifest.negative_scopes[position]]
