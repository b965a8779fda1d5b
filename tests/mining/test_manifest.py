"""Mining over a store, against the brute-force oracle, in small worlds full of ties.

ORACLE_EXAMPLES=5000 python -m pytest tests/mining/test_manifest.py -k oracle  tries more worlds.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cir.artefacts.manifest import write_manifest
from cir.artefacts.vectors import VectorTable
from cir.config import MiningOptions, OnStarved
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.errors import DatasetError, ManifestError, StoreError, UsageError, VectorError
from cir.mining.machine import Machine
from cir.mining.manifest import build_gallery, plan_of, usable_queries, why_none
from cir.types import SCOPES, Sampling, Strategy
from tests.support.mining_worlds import (
    World,
    embeddings_of,
    filters,
    machines,
    mining_options,
    random_world,
    small_worlds,
)
from tests.support.worlds import random_embeddings

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "30"))
FILTERS: dict[str, dict[str, Any]] = {
    "relative margin": {"relative_margin": 0.1},
    "similarity to the query": {"max_similarity": 0.3},
    "similarity to the target": {"max_target_similarity": 0.4},
    "siblings": {"exclude_siblings": True},
    "ranks": {"range_min": 7, "range_max": 400},
}
FILTERS["all"] = {name: value for own in FILTERS.values() for name, value in own.items()}


@pytest.mark.slow
@example(
    world={"seed": 0, "dim": 1, "images": 9, "count": 1, "categories": 1, "whole": False},
    options={"num_negatives": 1, "margin": 0.05, "duplicate_threshold": 0.5},
    filters={"range_min": 1},
    machine=Machine(block_size=1, tile_size=2048, threads=2, arithmetic=torch.bfloat16),
).via("a border far below the target, where bfloat16 is coarse")
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    small_worlds(),
    mining_options(),
    st.one_of(st.just({}), filters()),
    machines(blocks=st.integers(1, 13)),
)
def test_every_strategy_agrees_with_the_oracle(
    world: Mapping[str, Any],
    options: Mapping[str, Any],
    filters: Mapping[str, Any],
    machine: Machine,
) -> None:
    made = random_world(**world)
    most = len({i for gallery in made.galleries.values() for i in gallery})
    asked = {**options, **filters, "num_negatives": min(options["num_negatives"], most)}
    made.check(MiningOptions(**asked), machine)


@pytest.fixture(scope="module")
def medium() -> World:
    """Large enough for several chunks, groups of candidates and attempts at a sample."""
    rng = np.random.default_rng(8)
    images, count, dim = 1500, 45, 24
    vectors = rng.standard_normal((images, dim))
    vectors[100:120] = vectors[0]
    embeddings = embeddings_of(vectors, [f"{n}" for n in range(images)])
    ids = embeddings.images.keys
    galleries = {"a": ids[:700], "b": ids[600:1300], "c": ids[1300:]}
    queries = [
        Query(
            f"q{n}",
            "abc"[n % 3],
            ids[rng.integers(images)],
            (f"caption {n % 7}",),
            (ids[rng.integers(images)],),
        )
        for n in range(count)
    ]
    targets = embeddings.images.take([q.target_id for q in queries])
    return World(queries, embeddings, galleries, targets * 0.3 + rng.standard_normal((count, dim)))


@pytest.fixture(params=get_args(Strategy))
def strategy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampling", "num_negatives"), [("top", 80), ("random", 5), ("softmax", 80)]
)
def test_a_medium_world_agrees_with_the_oracle(
    medium: World, strategy: Any, sampling: Any, num_negatives: int
) -> None:
    medium.check(
        MiningOptions(strategy=strategy, sampling=sampling, num_negatives=num_negatives),
        Machine(block_size=32),
    )


@pytest.mark.slow
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_filtered_medium_world_agrees_with_the_oracle(
    medium: World, filters: dict[str, Any]
) -> None:
    options = MiningOptions(strategy="category-aware", sampling="random", **filters)
    medium.check(options, Machine(block_size=32))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_the_machine_does_not_change_a_byte(
    medium: World, strategy: Any, sampling: Any, tmp_path: Path
) -> None:
    options = MiningOptions(
        strategy=strategy, sampling=sampling, on_starved="random", margin=0.05, **FILTERS["ranks"]
    )
    files = []
    for block_size, tile, threads, number in (
        (8, 1500, 1, torch.float32),
        (17, 100, 2, torch.bfloat16),
        (45, 2048, 4, torch.int16),
    ):
        file = tmp_path / f"{block_size}.parquet"
        machine = Machine(block_size=block_size, tile_size=tile, threads=threads, arithmetic=number)
        write_manifest(medium.mine(options, machine), file)
        files.append(file.read_bytes())
    assert len(set(files)) == 1


def test_the_seed_decides_every_random_choice(medium: World) -> None:
    first, again, other = (
        medium.mine(MiningOptions(strategy="random", seed=seed)).negative_ids for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_category_shares_hold_over_the_manifest(medium: World) -> None:
    mined = medium.mine(MiningOptions(strategy="category-aware"))
    shares = np.bincount(mined.negative_scopes, minlength=3) / len(mined.negative_ids)
    wanted = dict(zip(("same-category", "other-category", "any"), (0.7, 0.2, 0.1), strict=True))
    for scope, share in wanted.items():
        assert shares[SCOPES.index(scope)] == pytest.approx(share, abs=2 / len(mined))


def on_a_line(distances: Sequence[float]) -> World:
    """A query along x, its target at distance 0.5, and candidates at given distances from it."""
    angles = np.arccos(1 - np.array([0.0, 0.5, *distances]))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    embeddings = embeddings_of(vectors, [f"{n}" for n in range(len(vectors))])
    ids = embeddings.images.keys
    query = Query("q", "c", ids[0], ("is red",), (ids[1],))
    return World([query], embeddings, {"c": ids}, np.array([[1.0, 0.0]], np.float32))


@pytest.mark.parametrize(
    ("on_starved", "expected"),
    [
        ("nearest", [(0.1, "hard"), (0.2, "hard"), (0.65, "semi-hard")]),
        ("random", None),
        ("drop", []),
    ],
)
def test_starved_queries_are_served_as_asked(on_starved: Any, expected: Any) -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    mined = world.mine(MiningOptions(num_negatives=3, on_starved=on_starved))
    found = [
        (round(float(d), 6), ("hard", "semi-hard", "easy")[k])
        for d, k in zip(mined.negative_distances, mined.negative_kinds, strict=True)
    ]
    assert mined.metadata.counts.starved == 1
    assert mined.metadata.counts.dropped == (on_starved == "drop")
    if expected is None:
        assert len(found) == 3
        assert (0.65, "semi-hard") in found
    else:
        assert found == expected


@pytest.mark.slow
def test_a_random_fill_takes_every_candidate_equally_often() -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    counts: dict[str, int] = {}
    for seed in range(60):
        options = MiningOptions(num_negatives=2, on_starved="random", seed=seed)
        for image_id in world.mine(options).negative_ids:
            counts[image_id] = counts.get(image_id, 0) + 1
    assert counts.pop("i004") == 60
    assert len(counts) == 4
    assert all(3 < count < 27 for count in counts.values())


def test_fail_names_the_first_starved_query() -> None:
    line = "1 of 1 queries are starved, the first q: .*2 candidates .* .0 queries have none"
    with pytest.raises(ManifestError, match=line):
        on_a_line([0.65]).mine(MiningOptions(on_starved="fail", num_negatives=2))


def test_as_many_negatives_as_the_gallery_holds_gives_all_that_are_valid() -> None:
    mined = on_a_line([0.1, 0.65, 0.9]).mine(MiningOptions(num_negatives=5))
    assert mined.negative_counts.tolist() == [3]
    assert mined.metadata.counts.starved == 1


def test_more_negatives_than_the_gallery_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="`num_negatives` is 6; expected at most 5, the images"):
        on_a_line([0.1, 0.65, 0.9]).mine(MiningOptions(num_negatives=6))


def test_a_gallery_too_small_for_the_default_is_told_by_its_size() -> None:
    line = "the gallery is of 3 images, too few for the 5 negatives .*: pass `num_negatives=3` or"
    with pytest.raises(UsageError, match=line):
        on_a_line([0.1]).mine(MiningOptions())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "the gallery has no valid candidate"),
        ({"range_min": 50}, "every candidate is excluded: pass weaker filters than `range_min=50`"),
        (
            {"on_starved": "drop"},
            "pass `on_starved='nearest'`, a wider `margin`, fewer `num_negatives`",
        ),
        (
            {"on_starved": "drop", "strategy": "hard", "max_similarity": 0.1},
            (
                "pass `on_starved='nearest'`, fewer `num_negatives` or weaker filters than "
                "`max_similarity=0.1`"
            ),
        ),
    ],
)
def test_why_there_is_no_negative_names_what_is_in_force(
    options: dict[str, Any], line: str
) -> None:
    assert line in why_none(MiningOptions(**options))


@pytest.mark.parametrize(
    ("filters", "kept", "counted"),
    [
        ({}, [0.1, 0.2, 0.65, 0.9, 1.1], {}),
        ({"relative_margin": 0.1}, [0.65, 0.9, 1.1], {"excluded_by_relative_margin": 2}),
        ({"relative_margin": 0.5}, [0.9, 1.1], {"excluded_by_relative_margin": 3}),
        ({"max_similarity": 0.85}, [0.2, 0.65, 0.9, 1.1], {"excluded_by_max_similarity": 1}),
        ({"max_target_similarity": 0.915}, [0.1, 0.9, 1.1], {"excluded_by_target_similarity": 2}),
        ({"range_min": 2}, [0.65, 0.9, 1.1], {"excluded_by_ranks": 2}),
        ({"range_min": 1, "range_max": 3}, [0.2, 0.65], {"excluded_by_ranks": 3}),
        (
            {"range_max": 4, "max_similarity": 0.85},
            [0.2, 0.65, 0.9],
            {"excluded_by_ranks": 1, "excluded_by_max_similarity": 1},
        ),
    ],
)
def test_a_filter_leaves_what_it_says(
    filters: dict[str, Any], kept: list[float], counted: dict[str, int]
) -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    mined = world.mine(MiningOptions(strategy="random", num_negatives=5, **filters))
    assert mined.negative_distances.tolist() == pytest.approx(kept, abs=1e-6)
    assert mined.candidates_in_band.tolist() == [len(kept)]
    assert mined.target_ranks.tolist() == [3 - ("max_target_similarity" in filters)]
    counts = dataclasses.asdict(mined.metadata.counts)
    found = {n: count for n, count in counts.items() if n.startswith("excluded_by") and count}
    assert found == counted


def test_a_starved_query_is_filled_only_with_what_passes_the_filters() -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    mined = world.mine(MiningOptions(num_negatives=3, relative_margin=0.1))
    assert mined.negative_distances.tolist() == pytest.approx([0.65, 0.9, 1.1], abs=1e-6)
    assert mined.metadata.counts.starved == 1
    assert mined.metadata.counts.starved_empty == 0


def test_a_band_that_a_filter_empties_is_counted_as_empty() -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    mined = world.mine(MiningOptions(strategy="hard", num_negatives=2, relative_margin=0.1))
    counts = mined.metadata.counts
    assert (counts.starved, counts.starved_empty) == (1, 1)
    assert mined.negative_distances.tolist() == pytest.approx([0.65, 0.9], abs=1e-6)


def test_a_query_without_valid_candidates_is_dropped() -> None:
    mined = on_a_line([]).mine(MiningOptions(num_negatives=2))
    assert len(mined) == 0
    assert mined.metadata.counts.dropped == 1


def test_an_empty_band_everywhere_leaves_an_empty_manifest(medium: World) -> None:
    mined = medium.mine(MiningOptions(margin=0, on_starved="drop"))
    assert (len(mined), mined.metadata.counts.starved) == (0, len(medium.queries))


def test_a_category_of_one_image_is_served_from_elsewhere() -> None:
    world = on_a_line([0.1, 0.65, 0.9])
    alone = dataclasses.replace(world, galleries={"c": ["i001"], "d": world.embeddings.images.keys})
    options = MiningOptions(strategy="category-aware", num_negatives=3)
    mined = alone.mine(options)
    assert mined.negative_counts.tolist() == [3]
    assert SCOPES.index("same-category") not in mined.negative_scopes
    assert mined.starved is not None
    assert mined.starved.tolist() == [True]
    assert mined.metadata.counts.starved == 1
    alone.check(options)


def test_skipped_images_leave_the_gallery_and_drop_their_queries(dataset: Dataset) -> None:
    store = random_embeddings(dataset)
    queries, galleries = dataset.queries("train"), dataset.galleries("train")
    lost = queries[0].reference_id
    keys = tuple(key for key in store.images.keys if key != lost)
    partial = dataclasses.replace(
        store, images=VectorTable(keys, store.images.take(keys)), skipped={lost: "truncated"}
    )
    kept, left_out = usable_queries(queries, partial)
    assert left_out == sum(lost in (q.reference_id, q.target_id) for q in queries)
    assert len(kept) == len(queries) - left_out
    assert lost not in build_gallery(galleries, partial).ids


def test_queries_without_targets_are_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="has no target: pass the train or val split"):
        usable_queries(dataset.queries("test"), random_embeddings(dataset))


def _without_images(world: World) -> World:
    return dataclasses.replace(world, galleries={"c": [*world.galleries["c"], "unknown"]})


def _with_nan(world: World) -> World:
    vectors = world.query_vectors.copy()
    vectors[0] = np.nan
    return dataclasses.replace(world, query_vectors=vectors)


@pytest.mark.parametrize(
    ("spoil", "error", "line"),
    [
        (_without_images, StoreError, "lacks 1 of .*'unknown'"),
        (_with_nan, VectorError, "1 of 1 vectors of composed queries"),
        (lambda w: dataclasses.replace(w, galleries={"d": ["i001"]}), DatasetError, "category 'c'"),
        (lambda w: dataclasses.replace(w, galleries={"c": []}), DatasetError, "gallery is empty"),
    ],
)
def test_bad_input_ends_in_one_line(
    spoil: Callable[[World], World], error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=line) as caught:
        spoil(on_a_line([0.1, 0.65])).mine(MiningOptions(num_negatives=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("on_starved", get_args(OnStarved))
def test_a_manifest_says_how_to_mine_it_again(medium: World, on_starved: Any) -> None:
    options = MiningOptions(
        strategy="random",
        num_negatives=2,
        sampling="softmax",
        temperature=0.1,
        relative_margin=0.0,
        max_similarity=0.9,
        max_target_similarity=0.9,
        range_min=1,
        range_max=900,
        exclude_siblings=True,
        on_starved=on_starved,
    )
    metadata = medium.mine(options).metadata
    assert MiningOptions(**metadata.options) == options
    assert plan_of(MiningOptions(**metadata.options)) == plan_of(options)


def test_a_band_without_a_share_is_not_counted() -> None:
    world = random_world(seed=0, dim=6, images=60, count=20, categories=2, whole=False)
    shares = {"same_share": 1.0, "other_share": 0.0, "any_share": 0.0, "same_kind": "hard"}
    options = MiningOptions(strategy="category-aware", **shares)
    world.check(options)
    alone, mined = world.mine(options), world.mine(dataclasses.replace(options, any_kind="easy"))
    assert alone.candidates_in_band.tolist() == mined.candidates_in_band.tolist()
    assert alone.candidates_in_band.sum() > 0
    assert (alone.candidates_in_band < alone.target_ranks).all()
