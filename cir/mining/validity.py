"""Which images can be no negative of a query.

A candidate is refused when it is the query's reference, its target, a known target of the same
(reference, captions), a byte-identical copy of the target, or so near to it that it shows the same
thing. All of it is decided by ids and vectors, never by ranks.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.dataset import Query
from cir.mining.nearcopies import near_copies

_HIGHEST_COSINE: Final = 1.001
"""No cosine passes it: a threshold above it asks for no near-duplicates."""


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Gallery rows by query, ragged: query i's are rows[starts[i]:starts[i + 1]], ascending."""

    starts: Int64[np.ndarray, " queries_and_end"]
    rows: Int64[np.ndarray, " flat"]
    duplicates: int
    """Candidates refused for nothing but being duplicates of the target, over all queries."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, query: int) -> Int64[np.ndarray, " rows"]:
        """The excluded gallery rows of one query."""
        return self.rows[self.starts[query] : self.starts[query + 1]]

    def pairs(
        self, queries: slice
    ) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
        """(query counted from the slice's start, gallery row) of every exclusion in a slice."""
        starts = self.starts[queries.start : queries.stop + 1]
        numbers = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        return numbers, self.rows[starts[0] : starts[-1]]


def exclusions_of(rows: Sequence[Iterable[int]], duplicates: int = 0) -> Exclusions:
    """Exclusions from each query's gallery rows, in any order."""
    ordered = [sorted(set(own)) for own in rows]
    starts = np.cumsum([0, *(len(own) for own in ordered)], dtype=np.int64)
    flat = np.array([row for own in ordered for row in own], dtype=np.int64)
    return Exclusions(starts, flat, duplicates)


def find_exclusions(
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    duplicate_threshold: float,
) -> Exclusions:
    """The gallery images that are no negatives of each query.

    Args:
        queries: Each with a target that the store holds.
        gallery_ids: Image ids, each once.
        gallery: Their unit vectors.
        embeddings: Vectors and file hashes of gallery and targets.
        duplicate_threshold: Cosine to the target from which a candidate counts as its duplicate.

    Raises:
        StoreError: the store lacks an image.
        VectorError: a target's vector has no direction.
    """
    row_of = {image_id: row for row, image_id in enumerate(gallery_ids)}
    known = _known_targets(queries)
    copies = _copies(queries, gallery_ids, gallery, embeddings, duplicate_threshold)
    excluded, duplicates = [], 0
    for query in queries:
        named = {query.reference_id, *known[_question(query)]}
        own = {row_of[image_id] for image_id in named if image_id in row_of}
        alike = copies[query.target_id] - own
        duplicates += len(alike)
        excluded.append(own | alike)
    return exclusions_of(excluded, duplicates)


def barred_images(
    queries: Sequence[Query], embeddings: Embeddings, duplicate_threshold: float
) -> dict[str, Int64[np.ndarray, " rows"]]:
    """For each query id, the rows of `embeddings.images` that are no negatives of it."""
    images = embeddings.images
    unit = normalised(images.vectors, "images")
    found = find_exclusions(queries, images.keys, unit, embeddings, duplicate_threshold)
    return {query.id: found.of(number) for number, query in enumerate(queries)}


def _question(query: Query) -> tuple[str, tuple[str, ...]]:
    return query.reference_id, query.captions


def _known_targets(
    queries: Sequence[Query],
) -> Mapping[tuple[str, tuple[str, ...]], set[str]]:
    """The targets of all queries that ask the same of the same reference."""
    known: defaultdict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for query in queries:
        known[_question(query)].update(query.target_ids)
    return known


def _copies(
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    duplicate_threshold: float,
) -> Mapping[str, set[int]]:
    """The gallery rows that duplicate each target, by bytes or by vector, itself among them."""
    targets = sorted({query.target_id for query in queries})
    copies: dict[str, set[int]] = {target: set() for target in targets}
    for target, row in _same_bytes(targets, gallery_ids, embeddings):
        copies[target].add(row)
    if duplicate_threshold <= _HIGHEST_COSINE and targets:
        vectors = normalised(embeddings.images.take(targets), "targets")
        numbers, rows = near_copies(vectors, gallery, duplicate_threshold)
        for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
            copies[targets[number]].add(row)
    return copies


def _same_bytes(
    targets: Sequence[str], gallery_ids: Sequence[str], embeddings: Embeddings
) -> Iterator[tuple[str, int]]:
    """(target, gallery row) of every pair of files with one SHA-256."""
    digests = embeddings.image_sha256
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for gallery_row, store_row in enumerate(embeddings.images.rows(gallery_ids).tolist()):
        rows_of[digests[store_row]].append(gallery_row)
    for target, store_row in zip(targets, embeddings.images.rows(targets).tolist(), strict=True):
        for gallery_row in rows_of.get(digests[store_row], ()):
            yield target, gallery_row
