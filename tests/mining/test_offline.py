"""Mining over a store, against the brute-force oracle, in small worlds full of ties."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.manifest import Manifest, write_manifest
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import Table
from cir.config import MiningOptions, OnStarved
from cir.data.dataset import Dataset, Query
from cir.errors import DatasetError, ManifestError, StoreError, UsageError, VectorError
from cir.mining.offline import build_gallery, mine_manifest, plan_of, usable_queries
from cir.types import SCOPES, Strategy
from tests.oracle import check_manifest
from tests.worlds import random_embeddings

CPU = torch.device("cpu")
KINDS_AND_ANY = ("hard", "semi-hard", "easy", "any")


@dataclass(frozen=True)
class World:
    queries: Sequence[Query]
    embeddings: Embeddings
    galleries: Mapping[str, Sequence[str]]
    query_vectors: np.ndarray

    def mine(self, options: MiningOptions, block_size: int = 256) -> Manifest:
        return mine_manifest(
            self.queries,
            self.embeddings,
            self.galleries,
            self.query_vectors,
            options,
            query="sum",
            split="train",
            epoch=0,
            checkpoint_sha256=None,
            device=CPU,
            block_size=block_size,
        )

    def check(self, options: MiningOptions, block_size: int = 256) -> None:
        mined = self.mine(options, block_size)
        check_manifest(
            mined, self.queries, self.embeddings, self.galleries, self.query_vectors, options
        )


def embeddings_of(vectors: np.ndarray, digests: Sequence[str]) -> Embeddings:
    ids = tuple(f"i{number:03d}" for number in range(len(vectors)))
    return Embeddings(
        images=Table(ids, vectors.astype(np.float32)),
        captions=Table(("a",), np.ones((1, vectors.shape[1]), np.float32)),
        image_sha256=tuple(digests),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", vectors.shape[1]),
        skipped={},
        path=Path("embeddings.h5"),
        sha256="e" * 64,
    )


def random_world(
    *, seed: int, dim: int, images: int, count: int, categories: int, whole: bool
) -> World:
    """Whole numbers for vectors give ties, duplicates and borders that are hit exactly."""
    rng = np.random.default_rng(seed)
    embeddings = embeddings_of(
        _directions(rng, images, dim, whole=whole), [f"{n}" for n in rng.integers(0, 60, images)]
    )
    ids = embeddings.images.keys
    galleries = {
        f"c{number}": [i for i in ids if rng.random() < 0.6] or [ids[0]]
        for number in range(categories)
    }
    queries = [
        Query(
            id=f"q{number}",
            category=f"c{rng.integers(categories)}",
            reference_id=ids[rng.integers(min(images, 5))],
            captions=(("is red",), ("is blue", "is long"))[rng.integers(2)],
            target_ids=tuple(ids[n] for n in dict.fromkeys(rng.integers(0, images, 2).tolist())),
        )
        for number in range(count)
    ]
    return World(queries, embeddings, galleries, _directions(rng, count, dim, whole=whole))


def _directions(rng: np.random.Generator, rows: int, dim: int, *, whole: bool) -> np.ndarray:
    vectors = rng.integers(-2, 3, (rows, dim)) if whole else rng.standard_normal((rows, dim))
    vectors[~vectors.any(axis=1), 0] = 1
    return vectors.astype(np.float32)


@st.composite
def mining_options(draw: st.DrawFn) -> MiningOptions:
    same = draw(st.sampled_from((0.7, 0.5, 0.0, 1.0)))
    other = (1 - same) * draw(st.sampled_from((2 / 3, 0.0, 1.0)))
    kinds = [draw(st.sampled_from(KINDS_AND_ANY)) for _ in range(2)]
    sampling = draw(st.sampled_from(("top", "random")))
    without_chance = sampling == "top" and "any" not in kinds
    return MiningOptions(
        strategy=draw(st.sampled_from(get_args(Strategy))),
        num_negatives=draw(st.sampled_from((1, 2, 3, 5, 10, 60))),
        margin=draw(st.sampled_from((0.0, 0.05, 0.2, 0.5, 2.0))),
        sampling=sampling,
        same_share=same,
        other_share=other,
        any_share=1 - same - other,
        same_kind=kinds[0],
        other_kind=kinds[1],
        any_kind=draw(st.sampled_from(KINDS_AND_ANY)) if without_chance else "any",
        duplicate_threshold=draw(st.sampled_from((0.5, 0.9, 0.99, 1.0, 1.01))),
        on_starved=draw(st.sampled_from(("nearest", "random", "drop"))),
        seed=draw(st.integers(0, 3)),
    )


@settings(max_examples=250, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "dim": st.integers(1, 9),
            "images": st.integers(1, 45),
            "count": st.integers(1, 12),
            "categories": st.integers(1, 3),
            "whole": st.booleans(),
        }
    ),
    mining_options(),
    st.integers(1, 13),
)
def test_every_strategy_agrees_with_the_oracle(
    world: Mapping[str, Any], options: MiningOptions, block_size: int
) -> None:
    random_world(**world).check(options, block_size)


@pytest.fixture(scope="module")
def medium() -> World:
    """Large enough for several chunks, groups of candidates and attempts at a sample."""
    rng = np.random.default_rng(3)
    images, count, dim = 1500, 60, 24
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


@pytest.mark.parametrize("sampling", ["top", "random"])
@pytest.mark.parametrize("num_negatives", [5, 80])
def test_a_medium_world_agrees_with_the_oracle(
    medium: World, strategy: Any, sampling: Any, num_negatives: int
) -> None:
    medium.check(
        MiningOptions(strategy=strategy, sampling=sampling, num_negatives=num_negatives), 32
    )


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_blocks_and_chunks_do_not_change_a_byte(
    medium: World, strategy: Any, sampling: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = MiningOptions(strategy=strategy, sampling=sampling, on_starved="random", margin=0.05)
    files = []
    for block_size, chunk in ((1, 1 << 19), (17, 4000), (256, 1), (60, 1 << 19)):
        monkeypatch.setattr("cir.mining.engine._CHUNK", chunk)
        file = tmp_path / f"{block_size}.parquet"
        write_manifest(medium.mine(options, block_size), file)
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


def test_a_random_fill_takes_every_candidate_equally_often() -> None:
    world = on_a_line([0.1, 0.2, 0.65, 0.9, 1.1])
    counts: dict[str, int] = {}
    for seed in range(200):
        options = MiningOptions(num_negatives=2, on_starved="random", seed=seed)
        for image_id in world.mine(options).negative_ids:
            counts[image_id] = counts.get(image_id, 0) + 1
    assert counts.pop("i004") == 200
    assert len(counts) == 4
    assert all(25 < count < 75 for count in counts.values())


def test_fail_names_the_first_starved_query() -> None:
    with pytest.raises(ManifestError, match=r"1 of 1 queries are starved, the first q: .*5 cand"):
        on_a_line([0.65]).mine(MiningOptions(on_starved="fail"))


def test_more_negatives_than_the_gallery_gives_all_of_them() -> None:
    mined = on_a_line([0.1, 0.65, 0.9]).mine(MiningOptions(num_negatives=50))
    assert mined.negative_counts.tolist() == [3]
    assert mined.metadata.counts.starved == 1


def test_a_query_without_valid_candidates_is_dropped() -> None:
    mined = on_a_line([]).mine(MiningOptions())
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
    alone.check(options)


def test_skipped_images_leave_the_gallery_and_drop_their_queries(dataset: Dataset) -> None:
    store = random_embeddings(dataset)
    queries, galleries = dataset.queries("train"), dataset.galleries("train")
    lost = queries[0].reference_id
    keys = tuple(key for key in store.images.keys if key != lost)
    partial = dataclasses.replace(
        store, images=Table(keys, store.images.take(keys)), skipped={lost: "truncated"}
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
        spoil(on_a_line([0.1, 0.65])).mine(MiningOptions())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("on_starved", get_args(OnStarved))
def test_a_manifest_says_how_to_mine_it_again(medium: World, on_starved: Any) -> None:
    options = MiningOptions(strategy="random", num_negatives=2, on_starved=on_starved)
    metadata = medium.mine(options).metadata
    assert MiningOptions(**metadata.options) == options
    assert plan_of(MiningOptions(**metadata.options)) == plan_of(options)
