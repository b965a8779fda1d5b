"""Manifests drawn at random: what training needs of mining, without mining."""

import dataclasses

import numpy as np

from cir import __version__
from cir.artefacts.manifest import SCHEMA_VERSION, Manifest
from cir.artefacts.manifest_metadata import ManifestCounts, ManifestMetadata
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions
from cir.data.dataset import Dataset
from cir.data.queries import Query


def random_manifest(
    dataset: Dataset, embeddings: Embeddings, most: int = 3, seed: int = 0
) -> Manifest:
    """Every query of the training split with 1 to `most` images that are not its own."""
    rng = np.random.default_rng(seed)
    queries = dataset.queries("train")
    images = sorted({i for gallery in dataset.galleries("train").values() for i in gallery})
    negatives = [_negatives(query, images, rng, most) for query in queries]
    counts = np.array([len(ids) for ids in negatives], dtype=np.int64)
    flat = int(counts.sum())
    return Manifest(
        query_ids=tuple(query.id for query in queries),
        categories=tuple(query.category for query in queries),
        reference_ids=tuple(query.reference_id for query in queries),
        target_ids=tuple(query.target_id for query in queries),
        captions=tuple(query.captions for query in queries),
        target_distances=rng.random(len(queries), dtype=np.float32),
        target_ranks=rng.integers(1, 9, len(queries), dtype=np.int32),
        candidates_in_band=counts.astype(np.int32),
        negative_counts=counts,
        negative_ids=tuple(i for ids in negatives for i in ids),
        negative_distances=rng.random(flat, dtype=np.float32),
        negative_kinds=rng.integers(0, 3, flat, dtype=np.int8),
        negative_scopes=np.zeros(flat, dtype=np.int8),
        metadata=_metadata(embeddings, len(queries), most),
    )


def _negatives(query: Query, images: list[str], rng: np.random.Generator, most: int) -> list[str]:
    others = [i for i in images if i not in (query.reference_id, *query.target_ids)]
    return list(rng.choice(others, rng.integers(1, most + 1), replace=False))


def _metadata(embeddings: Embeddings, queries: int, most: int) -> ManifestMetadata:
    options = MiningOptions(
        strategy="semi-hard", num_negatives=most, margin=0.5, duplicate_threshold=1.01
    )
    return ManifestMetadata(
        schema_version=SCHEMA_VERSION,
        cir_version=__version__,
        strategy=options.strategy,
        margin=options.margin,
        seed=options.seed,
        epoch=0,
        query="sum",
        split="train",
        options=dataclasses.asdict(options),
        embeddings_sha256=embeddings.sha256,
        provenance=embeddings.provenance,
        checkpoint_sha256=None,
        counts=ManifestCounts(queries, starved=0, dropped=0, excluded_as_duplicates=0),
    )
