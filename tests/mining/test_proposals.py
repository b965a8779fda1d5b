"""Proposed pairs, held against brute force."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.data.pairs import ProposedPair
from cir.data.queries import Query
from cir.mining.machine import Machine
from cir.mining.proposals import propose_pairs
from tests.support.mining_worlds import World, embeddings_of, random_world, small_worlds
from tests.support.oracle import Vectors, cosines

NEAREST = 10


def proposed(world: World, **changes: object) -> list[ProposedPair]:
    options = {
        "count": 1000,
        "most_uses": 2,
        "margin": 0.2,
        "duplicate_threshold": 0.99,
    }
    return propose_pairs(
        world.queries,
        world.embeddings,
        world.galleries,
        world.query_vectors,
        Machine(block_size=64),
        **options | changes,  # type: ignore[arg-type]
    )


def expected(
    world: World, count: int, uses: int, margin: float, threshold: float
) -> list[ProposedPair]:
    """Every near pair of a query and a wrong image, and of these the greedy choice."""
    store = world.embeddings
    images = normalised(store.images.vectors, "images")
    composed = normalised(world.query_vectors, "queries")
    gallery = sorted(set().union(*world.galleries.values()))
    near: list[tuple[np.float32, ProposedPair]] = []
    for query, vector in zip(world.queries, composed, strict=True):
        distances = np.float32(1) - cosines(vector, images)
        distance = dict(zip(store.images.keys, distances, strict=True))
        own, known = distance[query.target_id], known_to(query, world, images, threshold)
        wrong = [i for i in gallery if i not in known]
        ranked = sorted(
            (i for i in wrong if i in world.galleries[query.category]),
            key=lambda i: (distance[i], i),
        )
        for place, image_id in enumerate(ranked[:NEAREST]):
            if distance[image_id] != own and distance[image_id] < own + np.float32(margin):
                pair = ProposedPair(
                    reference_id=query.reference_id,
                    target_id=image_id,
                    category=query.category,
                    query_id=query.id,
                    distance=float(distance[image_id]),
                    rank=place + 1,
                    target_distance=float(own),
                    target_rank=1 + sum(bool(distance[i] < own) for i in wrong),
                )
                near.append((distance[image_id] - own, pair))
    return chosen(near, dict(zip(store.images.keys, images, strict=True)), count, uses, threshold)


def known_to(query: Query, world: World, images: Vectors, threshold: float) -> set[str]:
    """The reference, its targets under any captions, and every copy of these."""
    named = {query.reference_id}
    for other in world.queries:
        if other.reference_id == query.reference_id:
            named.update(other.target_ids)
    return named.union(*(copies(i, world, images, threshold) for i in named))


def copies(image_id: str, world: World, vectors: Vectors, threshold: float) -> set[str]:
    """Every image of the same bytes, or as near as a copy."""
    store = world.embeddings
    row = store.images.row_of[image_id]
    near = cosines(vectors[row], vectors) >= np.float32(threshold)
    same = [digest == store.image_sha256[row] for digest in store.image_sha256]
    return {i for i, n, s in zip(store.images.keys, near, same, strict=True) if n or s}


def chosen(
    near: list[tuple[np.float32, ProposedPair]],
    images: dict[str, Vectors],
    count: int,
    most_uses: int,
    threshold: float,
) -> list[ProposedPair]:
    """The greedy choice; an image looks like the first of the proposed ones that it is near to."""
    ordered = [pair for _, pair in sorted(near, key=lambda each: each[0])]
    targets = sorted({pair.target_id for pair in ordered})
    vectors = [images[i] for i in targets]
    look = {}
    for target, own in zip(targets, vectors, strict=True):
        near_to = cosines(own, np.stack(vectors)) >= np.float32(threshold)
        look[target] = next((t for t, n in zip(targets, near_to, strict=True) if n), target)
    taken: list[ProposedPair] = []
    references, looks = Counter[str](), Counter[str]()
    pairs: set[tuple[str, str]] = set()
    for uses in range(1, most_uses + 1):
        for pair in ordered:
            key = pair.reference_id, look[pair.target_id]
            fresh = references[key[0]] < uses and looks[key[1]] < uses
            if fresh and key not in pairs and len(taken) < count:
                taken.append(pair)
                pairs.add(key)
                references[key[0]] += 1
                looks[key[1]] += 1
    return taken


@pytest.mark.slow
@settings(max_examples=20)
@given(
    world=small_worlds(),
    count=st.sampled_from((1, 3, 1000)),
    uses=st.integers(1, 3),
    margin=st.sampled_from((0.0, 0.1, 0.5, 2.0)),
    threshold=st.sampled_from((0.5, 0.9, 0.99, 1.01)),
)
def test_the_pairs_are_those_of_brute_force(
    world: dict, count: int, uses: int, margin: float, threshold: float
) -> None:
    drawn = random_world(**world)
    found = proposed(
        drawn, count=count, most_uses=uses, margin=margin, duplicate_threshold=threshold
    )
    assert found == expected(drawn, count, uses, margin, threshold)


def test_a_world_by_hand() -> None:
    """The reference's copy, its two targets, a far image and a copy of a new target are left."""
    angles = np.deg2rad([0, 0.05, 40, 50, 44, 46, 44.05, 130, 46.5])
    *vectors, second = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = [f"i{n:03d}" for n in range(8)]
    queries = [
        Query("q0", "c", ids[0], ("a",), (ids[2],)),
        Query("q1", "c", ids[0], ("b",), (ids[3],)),
    ]
    world = World(
        queries,
        embeddings_of(np.stack(vectors), [str(n) for n in range(8)]),
        {"c": ids},
        np.stack([vectors[4], second]),
    )
    pairs = proposed(world, duplicate_threshold=0.999999)
    assert [(p.query_id, p.target_id, p.rank) for p in pairs] == [
        ("q0", ids[4], 1),
        ("q1", ids[5], 1),
    ]
    assert [p.target_rank for p in pairs] == [4, 4]
