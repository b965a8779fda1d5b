"""Rows of manifests as cards of photos, and the choice of the rows that a page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int64

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison
from cir.artefacts.manifest_statistics import hardest, owners, starved
from cir.reporting.album import Album
from cir.reporting.comparison_tables import AFTER, BEFORE, MOST_CHANGED
from cir.reporting.manifest_tables import HARDEST, NEGATIVES
from cir.types import KINDS, SCOPES

HARDEST_TAG, STARVED_TAG, CHANGED_TAG = "hardest", "starved", "changed most"
_SEED: Final = 0
"""Of the choice of rows: the same manifest always shows the same ones."""
_NEGATIVES_SHOWN: Final = 10
"""Negatives of a row that are shown, the nearest first; the page says how many there are."""


@dataclass(frozen=True)
class Shot:
    """An image, and the CSS class of its photo where there is one."""

    image_id: str
    photo: str | None


@dataclass(frozen=True)
class Negative:
    """A negative and what mining says of it."""

    shot: Shot
    distance: str
    kind: str
    scope: str
    mark: str = ""
    """Between two manifests: kept, gone or new."""


@dataclass(frozen=True)
class Group:
    """The negatives that one manifest gives a query."""

    title: str
    detail: str
    negatives: Sequence[Negative]


@dataclass(frozen=True)
class Triplet:
    """A query with its target and its negatives."""

    query_id: str
    category: str
    captions: Sequence[str]
    reference: Shot
    target: Shot
    tags: Sequence[str]
    groups: Sequence[Group]

    @property
    def kinds(self) -> list[str]:
        """The kinds of its negatives, in the order of `KINDS`."""
        present = {negative.kind for group in self.groups for negative in group.negatives}
        return [kind for kind in KINDS if kind in present]


def manifest_triplets(manifest: Manifest, album: Album, most: int) -> list[Triplet]:
    """The hardest rows, then others spread evenly over categories and kinds."""
    first = hardest(manifest, HARDEST)
    is_starved, foremost = starved(manifest), set(first.tolist())
    triplets = []
    for row in spread_rows(manifest, first, most).tolist():
        tags = [HARDEST_TAG] * (row in foremost) + [STARVED_TAG] * bool(is_starved[row])
        triplets.append(
            _triplet(manifest, row, album, tags, [_group(NEGATIVES, manifest, row, album, {})])
        )
    return triplets


def comparison_triplets(joined: ManifestComparison, album: Album, most: int) -> list[Triplet]:
    """The rows that changed most, then others spread evenly over categories and kinds."""
    first = joined.most_changed(MOST_CHANGED)
    is_starved, foremost = starved(joined.after), set(first.tolist())
    triplets = []
    for row in spread_rows(joined.after, first, most).tolist():
        tags = [CHANGED_TAG] * (row in foremost) + [STARVED_TAG] * bool(is_starved[row])
        groups = _exchanged(joined, row, album)
        triplets.append(_triplet(joined.after, row, album, tags, groups))
    return triplets


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


def _triplet(
    manifest: Manifest, row: int, album: Album, tags: Sequence[str], groups: Sequence[Group]
) -> Triplet:
    return Triplet(
        query_id=manifest.query_ids[row],
        category=manifest.categories[row],
        captions=manifest.captions[row],
        reference=shot(manifest.reference_ids[row], album),
        target=shot(manifest.target_ids[row], album),
        tags=tags,
        groups=groups,
    )


def shot(image_id: str, album: Album) -> Shot:
    """An image of the album."""
    return Shot(image_id, album.name(image_id))


def _exchanged(joined: ManifestComparison, row: int, album: Album) -> list[Group]:
    """A row's negatives before and after, each marked by what became of it."""
    was, now = (set(_ids(manifest, row)) for manifest in (joined.before, joined.after))
    marks = dict.fromkeys(was - now, "gone") | dict.fromkeys(now - was, "new")
    marks |= dict.fromkeys(was & now, "kept")
    return [
        _group(BEFORE, joined.before, row, album, marks),
        _group(AFTER, joined.after, row, album, marks),
    ]


def _group(
    title: str, manifest: Manifest, row: int, album: Album, marks: Mapping[str, str]
) -> Group:
    positions = manifest.negative_positions.of(row)
    order = np.argsort(manifest.negative_distances[positions], kind="stable")[:_NEGATIVES_SHOWN]
    negatives = [_negative(manifest, position, album, marks) for position in positions[order]]
    return Group(title.capitalize(), _detail(manifest, row, len(negatives)), negatives)


def _detail(manifest: Manifest, row: int, shown: int) -> str:
    count = int(manifest.negative_counts[row])
    detail = (
        f"target at distance {manifest.target_distances[row]:.3f}, "
        f"rank {manifest.target_ranks[row]:,}; {manifest.candidates_in_band[row]:,} in band"
    )
    return detail if shown == count else f"{detail}; nearest {shown} of {count:,} negatives"


def _negative(
    manifest: Manifest, position: np.integer, album: Album, marks: Mapping[str, str]
) -> Negative:
    """The negative at a position of the manifest's flat fields."""
    image_id = manifest.negative_ids[position]
    return Negative(
        shot=shot(image_id, album),
        distance=f"{manifest.negative_distances[position]:.3f}",
        kind=KINDS[manifest.negative_kinds[position]],
        scope=SCOPES[manifest.negative_scopes[position]],
        mark=marks.get(image_id, ""),
    )


def _ids(manifest: Manifest, row: int) -> list[str]:
    return [manifest.negative_ids[position] for position in manifest.negative_positions.of(row)]
