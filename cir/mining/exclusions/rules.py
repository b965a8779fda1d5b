"""The rules that exclude an image from the negatives of a query.

A candidate is excluded when it is the query's reference, its target, a known target of the same
(reference, captions), a byte-identical copy of the target, or so near to the target that it shows
the same thing. Two more rules are options: targets of the same reference under other captions, and
images too similar to the target. Ids and vectors decide all of it, ranks never do.
"""

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.data.queries import Query
from cir.errors import UsageError
from cir.machine.processes import ALONE, Processes
from cir.mining.exclusions.excluded import REASONS, Exclusions, Reason
from cir.mining.exclusions.near_duplicates import CPU, near_duplicates
from cir.mining.numerics.cosine import paired_cosines
from cir.mining.numerics.threads import scanning_threads
from cir.ragged import Ragged
from cir.types import NO_ROW

_HIGHEST_COSINE: Final = 1.001
"""No cosine exceeds it: a threshold above it switches a rule off."""

_SAMPLE: Final = 512
"""Targets, and gallery images, from which the number of similar pairs is estimated."""

_REASON_BITS: Final = 3
"""Bits that a reason takes beside a (query, row) pair in one integer."""


@dataclass(frozen=True)
class ExclusionRules:
    """What the rules exclude beside the images that queries name, and byte-identical copies."""

    duplicate_threshold: float
    """Cosine to the target from which a candidate counts as its duplicate."""
    max_target_similarity: float | None = None
    """Cosine to the target above which a candidate is excluded."""
    exclude_siblings: bool = False
    """Whether the targets of the same reference under other captions are."""
    max_similar_pairs: int = 30_000_000
    """Pairs of a target and an image too similar to it that may be listed: so many fit into a
    gigabyte or two of memory."""

    @classmethod
    def of(cls, options: MiningOptions) -> "ExclusionRules":
        """The rules that options of mining set."""
        return cls(
            options.duplicate_threshold, options.max_target_similarity, options.exclude_siblings
        )

    @property
    def limit(self) -> float:
        """Above this cosine to the target a candidate is excluded."""
        given = self.max_target_similarity
        return _HIGHEST_COSINE if given is None else given


def find_exclusions(
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    rules: ExclusionRules,
    *,
    processes: Processes = ALONE,
    device: torch.device = CPU,
) -> Exclusions:
    """Finds the gallery images that are no negatives of each query.

    Args:
        queries: Each with a target that the store holds.
        gallery_ids: Image ids, each once.
        gallery: Their unit vectors.
        embeddings: Vectors and file hashes of gallery and targets.
        rules: What is excluded.
        processes: Those that compare a part of the targets each with the same gallery; all return
            the same.
        device: Where they compare them.

    Returns:
        The excluded rows of `gallery` by query, each with the first rule that excludes it.

    Raises:
        StoreError: The store lacks an image.
        VectorError: A target's vector has no direction.
        UsageError: More than `rules.max_similar_pairs` images would be excluded as too similar.
    """
    targets, target_of = _distinct([query.target_id for query in queries])
    with ThreadPoolExecutor(1) as beside:  # names are looked up while vectors are compared
        named = beside.submit(_named, queries, gallery_ids, rules)
        same_bytes = beside.submit(_same_bytes, targets, gallery_ids, embeddings)
        copies, similar = _similar_to_targets(
            targets, gallery, embeddings, rules, processes, device
        )
    by_reason: list[tuple[Reason, Ragged]] = [
        *named.result(),
        ("same-bytes", same_bytes.result().take(target_of)),
        ("near-copy", copies.take(target_of)),
        ("similar", similar.take(target_of)),
    ]
    return _merged(by_reason, len(queries), len(gallery_ids))


def excluded_images(
    queries: Sequence[Query],
    embeddings: Embeddings,
    rules: ExclusionRules,
    *,
    processes: Processes = ALONE,
    device: torch.device = CPU,
) -> Exclusions:
    """Finds the rows of `embeddings.images` that are no negatives of each query.

    Args and errors are those of `find_exclusions`. `Exclusions.in_gallery` tells them by the rows
    of a gallery of some of these images.
    """
    images = embeddings.images
    return find_exclusions(
        queries,
        images.keys,
        normalised(images.vectors, "images"),
        embeddings,
        rules,
        processes=processes,
        device=device,
    )


def _named(
    queries: Sequence[Query], gallery_ids: Sequence[str], rules: ExclusionRules
) -> list[tuple[Reason, Ragged]]:
    """The gallery rows of the images that the queries of a dataset name, by the reason."""
    row_of = {image_id: row for row, image_id in enumerate(gallery_ids)}
    known = _in_gallery([query.known_ids for query in queries], row_of)
    by_reason: list[tuple[Reason, Ragged]] = [
        ("named", _in_gallery([(query.reference_id,) for query in queries], row_of)),
        ("named", _pooled([(query.reference_id, query.captions) for query in queries], known)),
    ]
    if rules.exclude_siblings:
        by_reason.append(("sibling", _pooled([query.reference_id for query in queries], known)))
    return by_reason


def _distinct(keys: Sequence[Hashable]) -> tuple[list[Any], Int64[np.ndarray, " keys"]]:
    """The distinct keys in the order in which they first come, and each key's index among them."""
    index_of: dict[Hashable, int] = {}
    indices = [index_of.setdefault(key, len(index_of)) for key in keys]
    return list(index_of), np.array(indices, dtype=np.int64)


def _pooled(keys: Sequence[Hashable], rows: Ragged) -> Ragged:
    """For each query the rows of all queries that have the same key."""
    distinct, key_of = _distinct(keys)
    queries, flat = rows.pairs()
    return Ragged.of_pairs(key_of[queries], flat, len(distinct)).take(key_of)


def _in_gallery(named: Sequence[Sequence[str]], row_of: Mapping[str, int]) -> Ragged:
    """The gallery rows of the images that each query names; images elsewhere are left out."""
    queries = np.repeat(np.arange(len(named)), [len(ids) for ids in named])
    looked_up = map(row_of.get, chain.from_iterable(named), repeat(NO_ROW))
    rows = np.fromiter(looked_up, dtype=np.int64, count=len(queries))
    present = rows != NO_ROW
    return Ragged.of_pairs(queries[present], rows[present], len(named))


def _same_bytes(
    targets: Sequence[str], gallery_ids: Sequence[str], embeddings: Embeddings
) -> Ragged:
    """For each target the gallery rows of files with the same SHA-256."""
    digests, images = embeddings.image_sha256, embeddings.images
    rows = np.concatenate([images.rows(gallery_ids), images.rows(targets)])
    distinct, file_of = _distinct([digests[row] for row in rows.tolist()])
    of_gallery, of_targets = np.split(file_of, [len(gallery_ids)])
    return Ragged.of_pairs(of_gallery, np.arange(len(gallery_ids)), len(distinct)).take(of_targets)


def _similar_to_targets(
    targets: Sequence[str],
    gallery: Float32[np.ndarray, "gallery dim"],
    embeddings: Embeddings,
    rules: ExclusionRules,
    processes: Processes,
    device: torch.device,
) -> tuple[Ragged, Ragged]:
    """For each target the rows of its near-copies, and of images more similar than is allowed."""
    threshold = min(rules.duplicate_threshold, rules.limit)
    if threshold >= _HIGHEST_COSINE or not targets or not len(gallery):
        none = Ragged.of_lists([()] * len(targets))
        return none, none
    vectors = embeddings.images.unit(targets, "targets")
    _require_few_pairs(vectors, gallery, threshold, rules.max_similar_pairs)
    part = processes.part(len(targets))
    found, columns = near_duplicates(vectors[part], gallery, threshold, device=device)
    target_rows, gallery_rows = map(processes.all_rows, (part.start + found, columns))
    cosines = paired_cosines(vectors, target_rows, gallery, gallery_rows)
    near = Ragged.of_pairs(target_rows, gallery_rows, len(targets))
    return (
        near.where(cosines >= np.float32(rules.duplicate_threshold)),
        near.where(cosines > np.float32(rules.limit)),
    )


def _require_few_pairs(
    targets: Float32[np.ndarray, "targets dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    threshold: float,
    max_pairs: int,
) -> None:
    """Raises UsageError where a sample shows that more than `max_pairs` reach the threshold."""
    some, others = (table[:: -(-len(table) // _SAMPLE)] for table in (targets, gallery))
    with scanning_threads():  # BLAS threads of this product would spin on, and take a core
        share = np.count_nonzero(some @ others.T >= threshold) / (len(some) * len(others))
    if share * len(targets) * len(gallery) > max_pairs:
        raise UsageError(
            f"`max_target_similarity` or `duplicate_threshold` {threshold:g} excludes {share:.0%} "
            f"of the gallery as too similar to a target; expected at most "
            f"{max_pairs / len(targets) / len(gallery):.1%}: pass a higher one"
        )


def _merged(by_reason: Sequence[tuple[Reason, Ragged]], queries: int, gallery: int) -> Exclusions:
    """Every excluded (query, gallery row) once, under the first of its reasons."""
    packed = np.concatenate([_packed(REASONS.index(why), rows, gallery) for why, rows in by_reason])
    packed.sort()
    pairs = packed >> _REASON_BITS
    first = np.diff(pairs, prepend=-1) != 0
    owners, rows = np.divmod(pairs[first], gallery)
    starts = np.searchsorted(owners, np.arange(queries + 1))
    reasons = (packed[first] & ((1 << _REASON_BITS) - 1)).astype(np.int8)
    return Exclusions(starts, rows, reasons)


def _packed(reason: int, excluded: Ragged, gallery: int) -> Int64[np.ndarray, " flat"]:
    """Integers whose order is that of (query, row, reason)."""
    queries, rows = excluded.pairs()
    packed: Int64[np.ndarray, " flat"] = (queries * gallery + rows << _REASON_BITS) + reason
    return packed
