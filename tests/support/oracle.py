"""Mining by brute force: plain loops over queries, written from the definitions alone.

It shares no code with the miner but the normalisation and, where shares are rounded, `Plan.quota`,
which has tests of its own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.data.queries import Query
from cir.mining.manifest import plan_of
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
    eligible: list[Candidate]
    """Those of `valid` that may be drawn, in the same order."""
    adaptive: set[str]
    """Those of `valid` between the two steepest drops."""
    refused: Counter[str]
    """Candidates that are not valid, by the first reason; valid ones, by each filter."""
    bands: dict[tuple[str, str], list[Candidate]] = field(default_factory=dict)
    """What `band` gave before."""

    @property
    def rank(self) -> int:
        return 1 + sum(c.distance < self.target_distance for c in self.valid)

    def band(self, scope: str, kind: str) -> list[Candidate]:
        if (scope, kind) not in self.bands:
            self.bands[scope, kind] = [
                c
                for c in self.eligible
                if (kind in ("any", c.kind) or (kind == "adaptive" and c.id in self.adaptive))
                and scope in ("any", _scope(c.same_category))
            ]
        return self.bands[scope, kind]


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
        target_row = _rows(embeddings)[query.target_id]
        target, digests = images[target_row], embeddings.image_sha256
        judge = _judge(query, queries, digests[target_row], options)
        alike = cosines(target, gallery)
        distances = np.float32(1) - cosines(composed[number], gallery)
        target_distance = (np.float32(1) - cosines(composed[number], target[None]))[0]
        border = target_distance + np.float32(options.margin)
        members, valid, refused = set(galleries[query.category]), [], Counter[str]()
        for row, (image_id, distance) in enumerate(zip(ids, distances, strict=True)):
            digest = digests[_rows(embeddings)[image_id]]
            reason = judge.why_not(image_id, digest, alike[row])
            if reason:
                refused[reason] += 1
                continue
            kind = "easy"
            if distance < target_distance:
                kind = "hard"
            elif target_distance < distance < border:
                kind = "semi-hard"
            valid.append(Candidate(image_id, distance, kind, image_id in members))
        valid.sort(key=lambda c: (c.distance, c.id))
        by_filter = _refused(valid, target_distance, options)
        eligible = [c for c in valid if not any(c.id in some for some in by_filter.values())]
        refused.update({name: len(some) for name, some in by_filter.items()})
        between = between_drops(
            [c for c in valid if c.distance > target_distance][: options.drop_window]
        )
        found.append(Row(query, target_distance, valid, eligible, between, refused))
    return found


def between_drops(behind: Sequence[Candidate]) -> set[str]:
    """The candidates behind the first of the two steepest drops, up to the second."""
    if len(behind) < 3:
        return {c.id for c in behind}
    drops = {k: behind[k + 1].distance - behind[k].distance for k in range(len(behind) - 1)}
    first, second = sorted(sorted(drops, key=lambda k: (-drops[k], k))[:2])
    return {c.id for c in behind[first + 1 : second + 1]}


@dataclass(frozen=True)
class _Judge:
    """What makes an image no negative of one query."""

    named: set[str]
    """Its reference, its targets, and those of every query that asks the same."""
    siblings: set[str]
    digest: str
    """Of its target."""
    options: MiningOptions

    def why_not(self, image_id: str, digest: str, alike: np.float32) -> str | None:
        """The first reason against an image; `alike` is its cosine to the target."""
        limit = self.options.max_target_similarity
        if image_id in self.named:
            return "named"
        if digest == self.digest:
            return "duplicate_bytes"
        if alike >= np.float32(self.options.duplicate_threshold):
            return "duplicate_vectors"
        if self.options.exclude_siblings and image_id in self.siblings:
            return "siblings"
        if limit is not None and alike > np.float32(limit):
            return "target_similarity"
        return None


def _judge(query: Query, queries: Sequence[Query], digest: str, options: MiningOptions) -> _Judge:
    named, siblings = {query.reference_id, *query.target_ids}, set()
    for other in queries:
        if other.reference_id == query.reference_id:
            (named if other.captions == query.captions else siblings).update(other.target_ids)
    return _Judge(named, siblings, digest, options)


def _refused(
    valid: Sequence[Candidate], target_distance: np.float32, options: MiningOptions
) -> dict[str, set[str]]:
    """The valid candidates, nearest first, that each filter refuses, whatever the others do."""
    one = np.float32(1)
    found: dict[str, set[str]] = {"relative_margin": set(), "max_similarity": set(), "ranks": set()}
    limits = {}
    if options.relative_margin is not None:
        similarity = one - target_distance
        less = 1 + options.relative_margin if similarity < 0 else 1 - options.relative_margin
        limits["relative_margin"] = np.float32(less) * similarity
    if options.max_similarity is not None:
        limits["max_similarity"] = np.float32(options.max_similarity)
    last = len(valid) if options.range_max is None else options.range_max
    for place, candidate in enumerate(valid):
        for name, limit in limits.items():
            if one - candidate.distance > limit:
                found[name].add(candidate.id)
        if not options.range_min <= place < last:
            found["ranks"].add(candidate.id)
    return found


def check_manifest(
    manifest: Manifest,
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Vectors,
    options: MiningOptions,
    rows: Sequence[Row] | None = None,
) -> None:
    """Asserts everything that can be known of a manifest of `queries`.

    What brute force finds may be given, where several manifests are of the same world and filters.

    Category-aware options may want a kind of any scope only where no other draw is left to chance:
    elsewhere chance decides how much an earlier draw leaves.
    """
    rows = rows or brute_force(queries, embeddings, galleries, query_vectors, options)
    quota = plan_of(options).quota(np.arange(len(queries)))
    mined = {i: n for n, i in enumerate(manifest.query_ids)}
    starved = empty = 0
    for number, row in enumerate(rows):
        shares = zip(_draws(options), quota[number].tolist(), strict=True)
        draws = [(scope, kind, wanted) for (scope, kind), wanted in shares]
        expected = _expected(row, draws, options)
        starved += expected.starved
        empty += expected.starved and not _union(row, draws)
        dropped = expected.count == 0 or (options.on_starved == "drop" and expected.starved)
        assert (row.query.id in mined) == (not dropped)
        if not dropped:
            _check_row(manifest, mined[row.query.id], row, draws, expected)
    counts = manifest.metadata.counts
    assert counts.queries == len(manifest)
    assert counts.dropped == len(queries) - len(manifest)
    assert (counts.starved, counts.starved_empty) == (starved, empty)
    refused = sum((row.refused for row in rows), Counter[str]())
    both = refused["duplicate_bytes"] + refused["duplicate_vectors"]
    assert counts.excluded_as_duplicates == both
    assert counts.excluded_as_duplicate_bytes == refused["duplicate_bytes"]
    assert counts.excluded_as_duplicate_vectors == refused["duplicate_vectors"]
    assert counts.excluded_as_siblings == refused["siblings"]
    assert counts.excluded_by_target_similarity == refused["target_similarity"]
    assert counts.excluded_by_relative_margin == refused["relative_margin"]
    assert counts.excluded_by_max_similarity == refused["max_similarity"]
    assert counts.excluded_by_ranks == refused["ranks"]


def _union(row: Row, draws: Sequence[tuple[str, str, int]]) -> set[str]:
    """The candidates that any of the draws could give."""
    return {c.id for scope, kind, _ in draws for c in row.band(scope, kind)}


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
        sampled = options.sampling != "top" or kind == "any"
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
    assert manifest.candidates_in_band[at] == len(_union(row, draws))
    start = manifest.negative_starts[at]
    span = slice(start, start + manifest.negative_counts[at])
    ids, scopes = manifest.negative_ids[span], [SCOPES[s] for s in manifest.negative_scopes[span]]
    by_id = {c.id: c for c in row.eligible}
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
            assert {c.id for c in ours} <= {c.id for c in row.band(scope, kind)}


def _draws(options: MiningOptions) -> list[tuple[str, str]]:
    """(scope, kind) of each draw that has a share."""
    if options.strategy == "category-aware":
        draws = [
            ("same-category", options.same_kind, options.same_share),
            ("other-category", options.other_kind, options.other_share),
            ("any", options.any_kind, options.any_share),
        ]
        return [(scope, kind) for scope, kind, share in draws if share]
    return [("any", "any" if options.strategy == "random" else options.strategy)]


def _rows(embeddings: Embeddings) -> Mapping[str, int]:
    return embeddings.images.row_of
