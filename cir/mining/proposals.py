"""Pairs that would teach most as new queries: a reference and an image that it is confused with.

A wrong image near a composed query is a hard negative of it. Under a text of its own, which says
how it differs from the reference, it is a target: the model then sees the same two photos under the
text that parts them and the text that joins them. ReCALL (Yang et al., "Recalibrating Capability
Degradation for MLLM-based Composed Image Retrieval", CVPR 2026) makes triplets of what a retriever
gets wrong in this way, a language model writing the texts.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.pairs import ProposedPair
from cir.data.queries import Query
from cir.mining.diversity import diverse_pairs
from cir.mining.engine import mine_on
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.exclusions.rules import ExclusionRules, find_exclusions
from cir.mining.machine import Machine
from cir.mining.manifest import Gallery, build_gallery, category_codes
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.ragged import Ragged
from cir.types import KINDS, NO_ROW, SCOPES

_NEAREST: Final = 10
"""Wrong images of each query, its nearest, that pairs are chosen among."""
_SCOPE: Final = "same-category"


def propose_pairs(
    queries: Sequence[Query],
    embeddings: Embeddings,
    galleries: Mapping[str, Sequence[str]],
    query_vectors: Float[np.ndarray, "queries dim"],
    machine: Machine,
    *,
    count: int,
    most_uses: int,
    margin: float,
    duplicate_threshold: float,
) -> list[ProposedPair]:
    """Chooses pairs of a query's reference and a near image that is no target of it.

    Near is an image of the query's category that is nearer than the query's target, or farther by
    less than the margin. The pairs with the least d(q, image) − d(q, target) come first, as
    `cir.mining.diversity` chooses them; near-copies of a target count as the same target.

    Args:
        queries: Those of `cir.mining.manifest.usable_queries`.
        embeddings: Vectors of every image.
        galleries: Image ids by category.
        query_vectors: The composed query of each of `queries`.
        machine: How mining runs.
        count: Pairs, at most.
        most_uses: Pairs that a photo may be in as the reference, and as the target.
        margin: How much farther than the target an image may be, in cosine distance.
        duplicate_threshold: An image whose cosine to the reference, or to any target that it has
            under whatever captions, reaches this is a copy, and no new target.

    Raises:
        DatasetError: the gallery is empty, or has not the category of a query.
        StoreError: the store lacks an image.
        VectorError: a vector has no direction.
    """
    device = machine.device
    gallery = build_gallery(galleries, embeddings, machine.processes)
    problem = Problem(
        queries=normalised(query_vectors, "composed queries"),
        targets=embeddings.images.unit([query.target_id for query in queries], "targets"),
        gallery=gallery.vectors,
        exclusions=_of_the_reference(queries, gallery, embeddings, duplicate_threshold, device),
        categories=category_codes(queries, gallery),
        members=gallery.members,
        first_row=gallery.part.start,
    )
    plan = _nearest(min(_NEAREST, len(gallery.ids)), margin)
    mined = mine_on(machine, problem, plan)
    in_category = _in_category(mined)
    ranks = in_category.cumsum(axis=1)
    found = np.argwhere(in_category & (mined.kinds != KINDS.index("easy")))
    looks = _looks(mined.rows[tuple(found.T)], gallery, embeddings, duplicate_threshold, device)
    references = {query.reference_id: row for row, query in enumerate(queries)}
    chosen = diverse_pairs(
        np.array([references[queries[row].reference_id] for row in found[:, 0]], dtype=np.int64),
        looks,
        (mined.distances - mined.target_distances[:, None])[tuple(found.T)],
        count=count,
        most_uses=most_uses,
    )
    return [
        _pair(queries[row], gallery, mined, row, place, int(ranks[row, place]))
        for row, place in found[chosen].tolist()
    ]


def _nearest(count: int, margin: float) -> Plan:
    """The nearest of a query's category: all hard ones are nearer than any other, fills follow."""
    draws = (Draw(_SCOPE, 1, "hard"), Draw(_SCOPE, 0, "semi-hard"))
    return Plan(draws, num_negatives=count, margin=margin, sampling="top", fill="nearest")


def _in_category(mined: Mined) -> Bool[np.ndarray, "queries negatives"]:
    """Which of the mined images are of the query's category, and not filled up from another."""
    inside: Bool[np.ndarray, "queries negatives"] = (mined.rows != NO_ROW) & (
        mined.scopes == SCOPES.index(_SCOPE)
    )
    return inside


def _of_the_reference(
    queries: Sequence[Query],
    gallery: Gallery,
    embeddings: Embeddings,
    threshold: float,
    device: torch.device,
) -> Ragged:
    """For each query its reference, whatever is a target of the reference, and copies of these.

    The rules of mining find them, asked for each of these images as if it were the target.
    """
    stored = embeddings.images.row_of
    named = dict.fromkeys(
        (query.reference_id, image_id)
        for query in queries
        for image_id in (query.reference_id, *query.known_ids)
        if image_id in stored
    )
    asked = [Query("", "", reference, (), (image_id,)) for reference, image_id in named]
    rules, ids = ExclusionRules(threshold), gallery.ids[gallery.part]
    found = find_exclusions(asked, ids, gallery.vectors, embeddings, rules, device=device)
    number_of: dict[str, int] = {}
    owners = [number_of.setdefault(reference, len(number_of)) for reference, _ in named]
    rows = [set(found.of(row).tolist()) for row in range(len(asked))]
    by_reference: list[set[int]] = [set() for _ in number_of]
    for owner, own in zip(owners, rows, strict=True):
        by_reference[owner] |= own
    numbers = np.array([number_of[query.reference_id] for query in queries], dtype=np.int64)
    return Ragged.of_lists([sorted(own) for own in by_reference]).take(numbers)


def _looks(
    rows: Int64[np.ndarray, " pairs"],
    gallery: Gallery,
    embeddings: Embeddings,
    threshold: float,
    device: torch.device,
) -> Int64[np.ndarray, " pairs"]:
    """A number for each image: that of the first among its near-copies."""
    distinct, place = np.unique(rows, return_inverse=True)
    vectors = embeddings.images.unit([gallery.ids[row] for row in distinct], "the gallery")
    first = np.arange(len(distinct))
    some, others = near_duplicates(vectors, vectors, threshold, device=device)
    np.minimum.at(first, some, others)
    looks: Int64[np.ndarray, " pairs"] = first[place]
    return looks


def _pair(
    query: Query, gallery: Gallery, mined: Mined, row: int, place: int, rank: int
) -> ProposedPair:
    return ProposedPair(
        reference_id=query.reference_id,
        target_id=gallery.ids[mined.rows[row, place]],
        category=query.category,
        query_id=query.id,
        distance=float(mined.distances[row, place]),
        rank=rank,
        target_distance=float(mined.target_distances[row]),
        target_rank=int(mined.target_ranks[row]),
    )
