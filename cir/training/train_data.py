"""The data of a run: the training split, cut by reference into queries to train on and dev."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cir.artefacts.checksums import shortened
from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions
from cir.data.captions import joined, variants
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.errors import ConfigError, DatasetError, ManifestError
from cir.evaluation.protocol import Protocol, standard_protocol
from cir.mining.manifest import usable_queries
from cir.training.hold_out import hold_out

SPLIT: Final = "train"
_MINE_AGAIN = "run cir mine again"


@dataclass(frozen=True)
class TrainSet:
    """The inputs of a run, checked against one another."""

    queries: tuple[Query, ...]
    """Those trained on, in the order of `manifest`."""
    dev: tuple[Query, ...]
    """Those by which the best epoch is chosen; no training query has their references."""
    protocol: Protocol
    """How dev is judged: among all images of the training split, as its benchmark has it."""
    galleries: Mapping[str, Sequence[str]]
    manifest: Manifest
    """The rows of the given manifest that are trained on."""
    mining: MiningOptions
    """How the manifest was mined, and is mined again."""


def build_train_set(
    dataset: Dataset, embeddings: Embeddings, manifest: Manifest, *, dev_fraction: float, seed: int
) -> TrainSet:
    """Cuts a dev split from the training split and leaves its queries out of the manifest.

    Args:
        dataset: Its training split is used, nothing else.
        embeddings: The store that the manifest was mined from.
        manifest: Mined negatives of the training split.
        dev_fraction: Share of each category's references that are drawn for dev.
        seed: Decides which.

    Raises:
        ManifestError: the manifest belongs to another store, split or dataset.
        DatasetError: the dataset has no training split, or no query is left for dev or train.
        StoreError: the store lacks a text that training draws from, or dev is judged by.
    """
    _require_same_store(manifest, embeddings)
    train, dev = dev_cut(dataset, embeddings, dev_fraction, seed)
    _require_known(manifest, {query.id: query for query in (*train, *dev)}, dataset)
    by_id = {query.id: query for query in train}
    rows = np.flatnonzero([query_id in by_id for query_id in manifest.query_ids])
    if not len(rows):
        raise ManifestError(
            f"none of the manifest's {len(manifest)} queries is left to train on beside the dev "
            f"split: {_MINE_AGAIN} on the whole training split"
        )
    kept = manifest.subset(rows)
    queries = tuple(by_id[query_id] for query_id in kept.query_ids)
    _require_texts(queries, dev, embeddings)
    return TrainSet(
        queries=queries,
        dev=tuple(dev),
        protocol=standard_protocol(dataset.form, SPLIT),
        galleries=dataset.galleries(SPLIT),
        manifest=kept,
        mining=_mining_options(manifest),
    )


def dev_cut(
    dataset: Dataset, embeddings: Embeddings, fraction: float, seed: int
) -> tuple[list[Query], list[Query]]:
    """(train, dev): the queries of the training split whose photos were embedded, by reference.

    Args:
        dataset: Has the training split.
        embeddings: The store that is trained on.
        fraction: Share of each category's references that are drawn for dev.
        seed: Decides which.

    Raises:
        DatasetError: the dataset has no training split, or no query is left for one of the two.
    """
    known, _ = usable_queries(dataset.queries(SPLIT), embeddings)
    try:
        return hold_out(known, fraction, seed)
    except DatasetError as fault:
        raise DatasetError(f"{fault}; pass another `dev_fraction`") from fault


def _require_texts(train: Sequence[Query], dev: Sequence[Query], embeddings: Embeddings) -> None:
    """Raises StoreError where a text is missing that training draws from, or dev is judged by."""
    drawn = {text for query in train for text in variants(query.captions)}
    judged = {joined(query.captions) for query in dev}
    embeddings.captions.rows(sorted(drawn | judged))


def _mining_options(manifest: Manifest) -> MiningOptions:
    try:
        return MiningOptions(**manifest.metadata.options)
    except (TypeError, ConfigError) as fault:
        raise ManifestError(
            f"the manifest was mined with options that this cir does not know ({fault}): "
            f"{_MINE_AGAIN}"
        ) from fault


def _require_same_store(manifest: Manifest, embeddings: Embeddings) -> None:
    metadata = manifest.metadata
    metadata.provenance.require_same(
        embeddings.provenance, "the manifest", str(embeddings.path), ManifestError
    )
    if metadata.embeddings_sha256 != embeddings.sha256:
        raise ManifestError(
            f"the manifest was mined from a store with SHA-256 "
            f"{shortened(metadata.embeddings_sha256)}; {embeddings.path} has "
            f"{shortened(embeddings.sha256)}: {_MINE_AGAIN} on it, or pass the store it came from "
            f"as `embeddings`"
        )
    if metadata.split != SPLIT:
        raise ManifestError(
            f"the manifest holds queries of split {metadata.split!r}, expected {SPLIT!r}: "
            f"{_MINE_AGAIN} with `split={SPLIT!r}`"
        )


def _require_known(manifest: Manifest, known: Mapping[str, Query], dataset: Dataset) -> None:
    """Raises ManifestError unless every row is the dataset's query of that id."""
    unknown = [
        row
        for row, query_id in enumerate(manifest.query_ids)
        if query_id not in known or not _same(manifest, row, known[query_id])
    ]
    if unknown:
        raise ManifestError(
            f"{len(unknown)} of the manifest's {len(manifest)} queries, the first "
            f"{manifest.query_ids[unknown[0]]}, are not those of split {SPLIT} in {dataset.root}: "
            f"pass the dataset it was mined from, or {_MINE_AGAIN}"
        )


def _same(manifest: Manifest, row: int, query: Query) -> bool:
    return (
        manifest.categories[row] == query.category
        and manifest.reference_ids[row] == query.reference_id
        and manifest.target_ids[row] in query.target_ids
        and manifest.captions[row] == query.captions
    )
