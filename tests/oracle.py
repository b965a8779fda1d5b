"""Mining by brute force: plain loops over queries, written from the definitions alone.

It shares no code with the miner but the normalisation and, where shares are rounded, `Plan.quota`,
which has tests of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.data.dataset import Query
from cir.mining.offline import plan_of
from cir.types import KINDS, SCOPES

Vectors = npt.NDArray[np.float32]


def cosines(one: Vectors, many: Vectors) -> Vectors:
    """Float32 products, added by halving."""
    terms = one * many
    while terms.shape[1] > 1:
        half = -(-terms.shape[1] // 2)
        rest = terms[:, half:]
        terms = terms[:, :half].copy()
        terms[:, : rest.shape[1]] += rest
    return terms[:, 0]


@dataclass(frozen=True)
class Candidate:
    id: str
    distance: np.float32
    kind: str
    same_category: bool


@dataclass(frozen=True)
class Row:
    """What is true of one query, whatever the strategy."""

    query: Query
    target_distance: np.float32
    valid: list[Candidate]
    """Nearest first, equal distances by id."""
    duplicates: int

    @property
    def rank(self) -> int:
        return 1 + sum(c.distance < self.target_distance for c in self.valid)

    def band(self, scope: str, kind: str) -> list[Candidate]:
        return [
            c
            for c in self.valid
            if kind in ("any", c.kind) and scope in ("any", _scope(c.same_category))
        ]


def _scope(same_category: bool) -> str:
    return "same-category" if same_category else "other-category"


def brute_force(
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Vectors,
    options: MiningOptions,
) -> list[Row]:
    ids = sorted({i for gallery in galleries.values() for i in gallery if i in _rows(embeddings)})
    images = normalised(embeddings.images.vectors, "images")
    gallery = images[[_rows(embeddings)[i] for i in ids]]
    composed = normalised(query_vectors, "queries")
    found = []
    for number, query in enumerate(queries):
        target = images[_rows(embeddings)[query.target_id]]
        named = {query.reference_id, *query.target_ids}
        for other in queries:
            if (other.reference_id, other.captions) == (query.reference_id, query.captions):
                named.update(other.target_ids)
        near = cosines(target, gallery) >= np.float32(options.duplicate_threshold)
        digest = embeddings.image_sha256[_rows(embeddings)[query.target_id]]
        distances = np.float32(1) - cosines(composed[number], gallery)
        target_distance = (np.float32(1) - cosines(composed[number], target[None]))[0]
        border = target_distance + np.float32(options.margin)
        members, valid, duplicates = set(galleries[query.category]), [], 0
        for row, image_id in enumerate(ids):
            same_bytes = embeddings.image_sha256[_rows(embeddings)[image_id]] == digest
            if image_id in named:
                continue
            if same_bytes or near[row]:
                duplicates += 1
                continue
            kind = "easy"
            if distances[row] < target_distance:
                kind = "hard"
            elif target_distance < distances[row] < border:
                kind = "semi-hard"
            valid.append(Candidate(image_id, distances[row], kind, image_id in members))
        valid.sort(key=lambda c: (c.distance, c.id))
        found.append(Row(query, target_distance, valid, duplicates))
    return found


def check_manifest(
    manifest: Manifest,
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Vectors,
    options: MiningOptions,
) -> None:
    """Asserts everything that can be known of a manifest of `queries`.

    Category-aware options may want a kind of any scope only where no other draw is left to chance:
    elsewhere chance decides how much an earlier draw leaves.
    """
    rows = brute_force(queries, embeddings, galleries, query_vectors, options)
    quota = plan_of(options).quota(np.arange(len(queries)))
    mined = {i: n for n, i in enumerate(manifest.query_ids)}
    starved = 0
    for number, row in enumerate(rows):
        shares = zip(_draws(options), quota[number].tolist(), strict=True)
        draws = [(scope, kind, wanted) for (scope, kind), wanted in shares]
        expected = _expected(row, draws, options)
        starved += expected.starved
        dropped = expected.count == 0 or (options.on_starved == "drop" and expected.starved)
        assert (row.query.id in mined) == (not dropped)
        if not dropped:
            _check_row(manifest, mined[row.query.id], row, draws, expected)
    counts = manifest.metadata.counts
    assert counts.queries == len(manifest)
    assert counts.dropped == len(queries) - len(manifest)
    assert counts.excluded_as_duplicates == sum(row.duplicates for row in rows)
    assert counts.starved == starved


@dataclass(frozen=True)
class _Expected:
    starved: bool
    count: int
    chosen: list[tuple[str, str]] | None
    """(id, scope) of every negative, where chance has no part in it."""


def _expected(row: Row, draws: Sequence[tuple[str, str, int]], options: MiningOptions) -> _Expected:
    """Serves the draws in turn, always with the nearest: the counts do not depend on which."""
    taken: dict[str, str] = {}
    certain, owed = True, []
    for scope, kind, wanted in draws:
        free = [c for c in row.band(scope, kind) if c.id not in taken]
        sampled = options.sampling == "random" or kind == "any"
        certain &= not sampled or not wanted or len(free) <= wanted
        taken.update({c.id: scope for c in free[:wanted]})
        owed.append((scope, max(0, wanted - len(free))))
    starved = len(taken) < options.num_negatives
    if options.on_starved in ("nearest", "random"):
        for scope, wanted in [*owed, ("any", options.num_negatives)]:
            free = [c for c in row.band(scope, "any") if c.id not in taken]
            wanted = min(wanted, options.num_negatives - len(taken))
            certain &= options.on_starved == "nearest" or not wanted or len(free) <= wanted
            taken.update({c.id: scope for c in free[:wanted]})
    return _Expected(starved, len(taken), list(taken.items()) if certain else None)


def _check_row(
    manifest: Manifest,
    at: int,
    row: Row,
    draws: Sequence[tuple[str, str, int]],
    expected: _Expected,
) -> None:
    assert manifest.target_ids[at] == row.query.target_id
    assert manifest.target_distances[at] == row.target_distance
    assert manifest.target_ranks[at] == row.rank
    union = {c.id for scope, kind, _ in draws for c in row.band(scope, kind)}
    assert manifest.candidates_in_band[at] == len(union)
    start = manifest.negative_starts[at]
    span = slice(start, start + manifest.negative_counts[at])
    ids, scopes = manifest.negative_ids[span], [SCOPES[s] for s in manifest.negative_scopes[span]]
    by_id = {c.id: c for c in row.valid}
    assert len(set(ids)) == len(ids)
    chosen = [by_id[i] for i in ids]
    assert manifest.negative_distances[span].tolist() == [c.distance for c in chosen]
    assert [KINDS[k] for k in manifest.negative_kinds[span]] == [c.kind for c in chosen]
    assert chosen == sorted(chosen, key=lambda c: (c.distance, c.id))
    for candidate, scope in zip(chosen, scopes, strict=True):
        assert scope in ("any", _scope(candidate.same_category))
    if expected.chosen is not None:
        assert sorted(zip(ids, scopes, strict=True)) == sorted(expected.chosen)
    if not expected.starved:
        for scope, kind, wanted in draws:
            ours = [c for c, its in zip(chosen, scopes, strict=True) if its == scope]
            assert len(ours) == wanted
            assert all(kind in ("any", c.kind) for c in ours)


def _draws(options: MiningOptions) -> list[tuple[str, str]]:
    """(scope, kind) of each draw."""
    if options.strategy == "category-aware":
        return [
            ("same-category", options.same_kind),
            ("other-category", options.other_kind),
            ("any", options.any_kind),
        ]
    return [("any", "any" if options.strategy == "random" else options.strategy)]


def _rows(embeddings: Embeddings) -> Mapping[str, int]:
    return embeddings.images.row_of
