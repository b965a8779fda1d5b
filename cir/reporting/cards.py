"""Queries as cards of photos: the query, and lines of the images retrieved or mined for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cir.artefacts.manifest import Manifest
from cir.reporting.examples import Outcome, QueryExample, Ranking
from cir.reporting.pictures import Pictures
from cir.reporting.run_record import RunRecord, mined_when
from cir.types import KINDS

_MINED_SHOWN: Final = 4
"""Queries whose mined negatives are shown."""
_NEGATIVES_SHOWN: Final = 5

OUTCOME_TEXTS: Final[Mapping[Outcome, str]] = {
    "gained": "into the first five",
    "kept": "in the first five both times",
    "lost": "out of the first five",
    "missed": "in the first five neither time",
}


@dataclass(frozen=True)
class Photo:
    """A photo and what is said under it."""

    uri: str | None
    """None where the file is gone."""
    image_id: str
    note: str = ""
    hit: bool = False
    """Whether it is a target of the query it is shown for."""
    kind: str = ""
    """Of a negative: hard, semi-hard or easy."""


@dataclass(frozen=True)
class Row:
    """A line of photos."""

    title: str
    detail: str
    photos: Sequence[Photo]


@dataclass(frozen=True)
class Card:
    """A query with its photos, and lines of photos below it."""

    badge: str
    tone: str
    captions: Sequence[str]
    category: str
    reference: Photo
    target: Photo
    rows: Sequence[Row]


def example_card(example: QueryExample, run: RunRecord, pictures: Pictures) -> Card:
    """A held-out query with what it retrieved before and after training."""
    query = example.query
    return Card(
        badge=OUTCOME_TEXTS[example.outcome],
        tone=example.outcome,
        captions=query.captions,
        category=query.category,
        reference=_photo(pictures, query.reference_id),
        target=_photo(pictures, query.target_id, hit=True),
        rows=(
            _ranking_row("Before: plain sum", example.before, query.target_ids, pictures),
            _ranking_row(
                f"After: epoch {run.best_epoch}", example.after, query.target_ids, pictures
            ),
        ),
    )


def _ranking_row(title: str, ranking: Ranking, targets: Sequence[str], pictures: Pictures) -> Row:
    photos = [
        _photo(pictures, image_id, note=str(rank), hit=image_id in targets)
        for rank, image_id in enumerate(ranking.first, start=1)
    ]
    return Row(title, f"target at rank {ranking.rank:,}", photos)


def mined_cards(run: RunRecord, pictures: Pictures, *, seed: int) -> list[Card]:
    """The same queries in the first and the last manifest, drawn at random."""
    row_of = {query_id: row for row, query_id in enumerate(run.last.query_ids)}
    shared = [row for row, query_id in enumerate(run.first.query_ids) if query_id in row_of]
    drawn = np.random.default_rng(seed).permutation(shared)[:_MINED_SHOWN]
    return [
        _mined_card(run, int(row), row_of[run.first.query_ids[row]], pictures)
        for row in sorted(drawn)
    ]


def _mined_card(run: RunRecord, first: int, last: int, pictures: Pictures) -> Card:
    manifest = run.first
    rows = [(manifest, first)] if run.last is manifest else [(manifest, first), (run.last, last)]
    return Card(
        badge=manifest.query_ids[first],
        tone="quiet",
        captions=manifest.captions[first],
        category=manifest.categories[first],
        reference=_photo(pictures, manifest.reference_ids[first]),
        target=_photo(pictures, manifest.target_ids[first], hit=True),
        rows=[_negatives_row(mined, row, pictures) for mined, row in rows],
    )


def _negatives_row(manifest: Manifest, row: int, pictures: Pictures) -> Row:
    positions = manifest.negative_positions.of(row)[:_NEGATIVES_SHOWN]
    photos = [_negative(manifest, int(position), pictures) for position in positions]
    distance = float(manifest.target_distances[row])
    return Row(f"Mined {mined_when(manifest)}", f"target at distance {distance:.2f}", photos)


def _negative(manifest: Manifest, position: int, pictures: Pictures) -> Photo:
    """The negative at a position of the manifest's flat fields."""
    kind = KINDS[manifest.negative_kinds[position]]
    note = f"{kind} {manifest.negative_distances[position]:.2f}"
    return _photo(pictures, manifest.negative_ids[position], note=note, kind=kind)


def _photo(
    pictures: Pictures, image_id: str, *, note: str = "", hit: bool = False, kind: str = ""
) -> Photo:
    return Photo(pictures.uri(image_id), image_id, note, hit, kind)
