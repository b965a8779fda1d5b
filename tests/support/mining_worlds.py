"""Small worlds to mine in, full of ties, and strategies that draw options for them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from hypothesis import strategies as st

from cir.artefacts.manifest import Manifest
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import MiningOptions
from cir.data.queries import Query
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest
from cir.types import Band, Sampling, Strategy
from tests.support.oracle import Row, brute_force, check_manifest

USUAL = Machine(block_size=256)
KINDS_AND_ANY = get_args(Band)


@dataclass(frozen=True)
class World:
    queries: Sequence[Query]
    embeddings: Embeddings
    galleries: Mapping[str, Sequence[str]]
    query_vectors: np.ndarray
    found: dict[MiningOptions, list[Row]] = field(default_factory=dict)
    """What brute force has found, by the options that matter to it."""

    def mine(self, options: MiningOptions, machine: Machine = USUAL) -> Manifest:
        return mine_manifest(
            self.queries,
            self.embeddings,
            self.galleries,
            self.query_vectors,
            options,
            ManifestRecord("sum", "train"),
            machine,
        )

    def check(self, options: MiningOptions, machine: Machine = USUAL) -> None:
        mined = self.mine(options, machine)
        inputs = self.queries, self.embeddings, self.galleries, self.query_vectors
        # What is true of a query does not depend on what is drawn of it.
        drawn = {"strategy": "hard", "sampling": "top", "num_negatives": 1}
        rows = self.found.setdefault(dataclasses.replace(options, **drawn), [])
        rows.extend(() if rows else brute_force(*inputs, options))
        check_manifest(mined, *inputs, options, rows)


def machines(blocks: st.SearchStrategy[int]) -> st.SearchStrategy[Machine]:
    """Blocks of so many queries, and tiles of gallery rows, in every arithmetic."""
    return st.builds(
        Machine,
        block_size=blocks,
        tile_size=st.sampled_from((1, 5, 16, 2048)),
        threads=st.just(2),
        arithmetic=st.sampled_from((torch.int16, torch.float32, torch.bfloat16)),
    )


def embeddings_of(vectors: np.ndarray, digests: Sequence[str]) -> Embeddings:
    ids = tuple(f"i{number:03d}" for number in range(len(vectors)))
    return Embeddings(
        images=VectorTable(ids, vectors.astype(np.float32)),
        captions=VectorTable(("a",), np.ones((1, vectors.shape[1]), np.float32)),
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
def mining_options(draw: st.DrawFn) -> dict[str, Any]:
    same = draw(st.sampled_from((0.7, 0.5, 0.0, 1.0)))
    other = (1 - same) * draw(st.sampled_from((2 / 3, 0.0, 1.0)))
    kinds = [draw(st.sampled_from(KINDS_AND_ANY)) for _ in range(2)]
    sampling = draw(st.sampled_from(get_args(Sampling)))
    without_chance = sampling == "top" and "any" not in kinds
    return {
        "strategy": draw(st.sampled_from(get_args(Strategy))),
        "num_negatives": draw(st.sampled_from((1, 2, 3, 5, 10, 60))),
        "drop_window": draw(st.sampled_from((3, 4, 7, 100))),
        "margin": draw(st.sampled_from((0.0, 0.05, 0.2, 0.5, 2.0))),
        "sampling": sampling,
        "temperature": draw(st.sampled_from((0.001, 0.05, 1.0))),
        "same_share": same,
        "other_share": other,
        "any_share": 1 - same - other,
        "same_kind": kinds[0],
        "other_kind": kinds[1],
        "any_kind": draw(st.sampled_from(KINDS_AND_ANY)) if without_chance else "any",
        "duplicate_threshold": draw(st.sampled_from((0.5, 0.9, 0.99, 1.0, 1.01))),
        "on_starved": draw(st.sampled_from(("nearest", "random", "drop"))),
        "seed": draw(st.integers(0, 3)),
    }


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """None in use half of the time; borders that whole-number vectors hit exactly among them."""
    least = draw(st.sampled_from((0, 0, 0, 1, 3, 20)))
    longest = draw(st.sampled_from((None, None, None, 1, 4, 30)))
    return {
        "relative_margin": draw(st.sampled_from((None, None, None, 0.0, 0.05, 0.5, 1.0))),
        "max_similarity": draw(st.sampled_from((None, None, None, -0.5, 0.0, 0.5, 0.8, 1.0))),
        "max_target_similarity": draw(st.sampled_from((None, None, None, -1.0, 0.0, 0.5, 1.0))),
        "exclude_siblings": draw(st.booleans()),
        "range_min": least,
        "range_max": None if longest is None else least + longest,
    }


def small_worlds() -> st.SearchStrategy[dict]:
    """The arguments of small random worlds."""
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "dim": st.integers(1, 9),
            "images": st.integers(1, 45),
            "count": st.integers(1, 12),
            "categories": st.integers(1, 3),
            "whole": st.booleans(),
        }
    )
