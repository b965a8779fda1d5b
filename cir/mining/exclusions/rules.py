"""Which images can be no negative of a query.

A candidate is refused when it is the query's reference, its target, a known target of the same
(reference, captions), a byte-identical copy of the target, so near to it that it shows the same
thing, or, where asked for, a target of the same reference under other captions or too similar to
the target. All of it is decided by ids and vectors, never by ranks.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.dataset import Query
from cir.errors import UsageError
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.numerics.cosine import paired_cosines
from cir.mining.numerics.threads import scanning_threads
from cir.mining.problem import ExclusionCounts, Exclusions

_HIGHEST_COSINE: Final = 1.001
"""No cosine passes it: a threshold above it asks for no near-duplicates."""

_MOST_PAIRS: Final = 30_000_000
"""Pairs of a target and an image too similar to it that are listed: a gigabyte or two of memory."""

_SAMPLE: Final = 512
"""Targets, and gallery images, by which their number is foretold."""

_ABSENT: Final = -1
"""The row of an image that is not in the gallery."""

_NAMED, _SAME_BYTES, _NEAR_COPY, _SIBLING, _SIMILAR = range(5)
"""Why a candidate is refused; of several reasons, the first counts."""

_REASON_BITS: Final = 3
"""Scratch for a reason beside a pair in one number."""


def find_exclusions(
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    duplicate_threshold: float,
    *,
    max_target_similarity: float | None = None,
    exclude_siblings: bool = False,
) -> Exclusions:
    """The gallery images that are no negatives of each query.

    Args:
        queries: Each with a target that the store holds.
        gallery_ids: Image ids, each once.
        gallery: Their unit vectors.
        embeddings: Vectors and file hashes of gallery and targets.
        duplicate_threshold: Cosine to the target from which a candidate counts as its duplicate.
        max_target_similarity: Cosine to the target above which a candidate is refused.
        exclude_siblings: Whether the targets of the same reference under other captions are
            refused.

    Raises:
        StoreError: the store lacks an image.
        VectorError: a target's vector has no direction.
        UsageError: so many images are too similar to a target that the pairs would fill the memory.
    """
    row_of = {image_id: row for row, image_id in enumerate(gallery_ids)}
    targets, target_of = _numbered([query.target_id for query in queries])
    copies, similar = _alike(
        targets, gallery, embeddings, duplicate_threshold, max_target_similarity
    )
    known = _in_gallery([query.known_ids for query in queries], row_of)
    found = [
        (_NAMED, _in_gallery([(query.reference_id,) for query in queries], row_of)),
        (_NAMED, _pooled([(query.reference_id, query.captions) for query in queries], known)),
        (_SAME_BYTES, _same_bytes(targets, gallery_ids, embeddings).shared(target_of)),
        (_NEAR_COPY, copies.shared(target_of)),
        (_SIMILAR, similar.shared(target_of)),
    ]
    if exclude_siblings:
        found.append((_SIBLING, _pooled([query.reference_id for query in queries], known)))
    return _merged(found, len(queries), len(gallery_ids))


def excluded_images(
    queries: Sequence[Query],
    embeddings: Embeddings,
    duplicate_threshold: float,
    *,
    max_target_similarity: float | None = None,
    exclude_siblings: bool = False,
) -> dict[str, Int64[np.ndarray, " rows"]]:
    """For each query id, the rows of `embeddings.images` that are no negatives of it."""
    images = embeddings.images
    found = find_exclusions(
        queries,
        images.keys,
        normalised(images.vectors, "images"),
        embeddings,
        duplicate_threshold,
        max_target_similarity=max_target_similarity,
        exclude_siblings=exclude_siblings,
    )
    return {query.id: found.of(number) for number, query in enumerate(queries)}


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Gallery rows of numbered things: of queries, or of what queries share, as a target."""

    numbers: Int64[np.ndarray, " pairs"]
    rows: Int64[np.ndarray, " pairs"]

    def where(self, chosen: Bool[np.ndarray, " pairs"]) -> "_Pairs":
        """Some of the pairs."""
        return _Pairs(self.numbers[chosen], self.rows[chosen])

    def shared(self, number_of: Int64[np.ndarray, " queries"]) -> "_Pairs":
        """(query, gallery row) for every query and every row of its number."""
        rows = self.rows[np.argsort(self.numbers, kind="stable")]
        most = max(self.numbers.max(initial=-1), number_of.max(initial=-1)) + 1
        counts = np.bincount(self.numbers, minlength=most)
        own = counts[number_of]
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        starts = np.repeat((np.cumsum(counts) - counts)[number_of], own)
        return _Pairs(np.repeat(np.arange(len(own)), own), rows[starts + within])


def _numbered(keys: Sequence[Hashable]) -> tuple[list[Any], Int64[np.ndarray, " keys"]]:
    """The different keys in the order they come, and the place of each key among them."""
    places: dict[Hashable, int] = {}
    numbers = [places.setdefault(key, len(places)) for key in keys]
    return list(places), np.array(numbers, dtype=np.int64)


def _pooled(keys: Sequence[Hashable], own: _Pairs) -> _Pairs:
    """(query, gallery row) of every row that is the own of a query with the same key."""
    _, key_of = _numbered(keys)
    return _Pairs(key_of[own.numbers], own.rows).shared(key_of)


def _in_gallery(named: Sequence[Sequence[str]], row_of: Mapping[str, int]) -> _Pairs:
    """(query, gallery row) of the images that each query names, where they are in the gallery."""
    numbers = np.repeat(np.arange(len(named)), [len(ids) for ids in named])
    places = map(row_of.get, chain.from_iterable(named), repeat(_ABSENT))
    rows = np.fromiter(places, dtype=np.int64, count=len(numbers))
    return _Pairs(numbers, rows).where(rows != _ABSENT)


def _same_bytes(
    targets: Sequence[str], gallery_ids: Sequence[str], embeddings: Embeddings
) -> _Pairs:
    """(target, gallery row) of every pair of files with one SHA-256."""
    digests, images = embeddings.image_sha256, embeddings.images
    rows = np.concatenate([images.rows(gallery_ids), images.rows(targets)])
    _, codes = _numbered([digests[row] for row in rows.tolist()])
    of_gallery, of_targets = np.split(codes, [len(gallery_ids)])
    return _Pairs(of_gallery, np.arange(len(gallery_ids))).shared(of_targets)


def _alike(
    targets: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    duplicate_threshold: float,
    max_target_similarity: float | None,
) -> tuple[_Pairs, _Pairs]:
    """(target, gallery row) of near-copies, and of images more similar than is allowed."""
    limit = _HIGHEST_COSINE if max_target_similarity is None else max_target_similarity
    least = min(duplicate_threshold, limit)
    if least >= _HIGHEST_COSINE or not targets or not len(gallery):
        nothing = np.zeros(0, dtype=np.int64)
        return _Pairs(nothing, nothing), _Pairs(nothing, nothing)
    vectors = embeddings.images.unit(targets, "targets")
    _require_few(vectors, gallery, least)
    near = _Pairs(*near_duplicates(vectors, gallery, least))
    cosines = paired_cosines(vectors, near.numbers, gallery, near.rows)
    return (
        near.where(cosines >= np.float32(duplicate_threshold)),
        near.where(cosines > np.float32(limit)),
    )


def _require_few(
    targets: Float32[np.ndarray, "targets dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    least: float,
) -> None:
    """Raises UsageError where a sample of the pairs shows that too many of them reach `least`."""
    some, others = (table[:: -(-len(table) // _SAMPLE)] for table in (targets, gallery))
    with scanning_threads():  # those of a product of its own would wait for more, and take a core
        share = np.count_nonzero(some @ others.T >= least) / (len(some) * len(others))
    if share * len(targets) * len(gallery) > _MOST_PAIRS:
        raise UsageError(
            f"--max-target-similarity or --duplicate-threshold {least:g} refuses {share:.0%} of "
            f"the gallery as too similar to a target; expected at most "
            f"{_MOST_PAIRS / len(targets) / len(gallery):.1%}: pass a higher one"
        )


def _merged(found: Sequence[tuple[int, _Pairs]], queries: int, gallery: int) -> Exclusions:
    """The (query, gallery row) pairs of all reasons, each once, under the first of its reasons."""
    packed = np.concatenate(
        [(p.numbers * gallery + p.rows << _REASON_BITS) + reason for reason, p in found]
    )
    packed.sort()
    places = packed >> _REASON_BITS
    first = np.diff(places, prepend=-1) != 0
    numbers, rows = np.divmod(places[first], gallery)
    reasons = np.bincount(packed[first] & ((1 << _REASON_BITS) - 1), minlength=_SIMILAR + 1)
    starts = np.searchsorted(numbers, np.arange(queries + 1))
    return Exclusions(starts, rows, ExclusionCounts(*reasons[_SAME_BYTES:].tolist()))
