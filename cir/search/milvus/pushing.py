"""A store's vectors into a collection of Milvus, which afterwards holds these and no others.

A push that was killed is gone on with, and one of a store that has changed writes what has changed:
every row carries a digest of its content, and rows whose digest is there already are left alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64

from cir.addresses import MilvusAddress
from cir.artefacts.store import Embeddings
from cir.config import MilvusKind
from cir.errors import UnreachableError, UsageError
from cir.progress import SILENT, Progress
from cir.search.gallery import Gallery
from cir.search.milvus.client import LONGEST, Collection
from cir.search.milvus.record import (
    Nature,
    Record,
    categories_sha256,
    nature_of,
    require_collection_of,
    write_record,
)
from cir.search.milvus.searching import MilvusIndex
from cir.search.proposing import Recall
from cir.search.recall import RecallSample, sample_queries

_BYTES: Final = 4 << 20
"""Of vectors that are written at once."""
_DELETED: Final = 1000
"""Rows that are deleted at once."""


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    kind: MilvusKind
    images: int
    """Photos of the collection now."""
    written: int
    """Those of them that were not there, or otherwise."""
    deleted: int
    """Photos that are no longer in the store."""
    recall: Recall


def push(
    embeddings: Embeddings,
    gallery: Gallery,
    address: MilvusAddress,
    kind: MilvusKind | None,
    *,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Pushed:
    """Fills a collection with a store.

    Args:
        embeddings: The store; its vectors may stay in its file.
        gallery: The same photos with their categories, without changes since.
        address: Where; the collection is made where there is none.
        kind: How it shall be searched; None leaves that to one that is there, and else is flat.
        overwrite: Whether a collection that shares no photo with the store is filled anew.
        progress: Shows photos per second.

    Raises:
        UsageError: cir did not make the collection, it is searched otherwise, or holds other
            photos; an id is too long.
        StoreError: it is of another encoder.
        UnreachableError: Milvus does not answer, or refuses; the same push goes on.
    """
    _require_short(gallery)
    collection = Collection(address)
    nature = _made(collection, embeddings, gallery, kind)
    collection.load()
    known = collection.contents()
    if known and not overwrite and not any(image_id in known for image_id in gallery.ids):
        raise UsageError(
            f"{address} holds {len(known):,} photos of another store, and none of "
            f"{embeddings.path}: name another collection, or pass `overwrite=True`"
        )
    record = _begun(collection, embeddings, gallery)
    written = _write(collection, gallery, known, progress)
    deleted = [image_id for image_id in known if image_id not in gallery]
    for start in range(0, len(deleted), _DELETED):
        collection.delete(deleted[start : start + _DELETED])
    collection.finish()
    _require_all(collection, gallery)
    recall = _measured(collection, gallery, nature.kind, embeddings)
    write_record(collection, replace(record, recall=recall))
    return Pushed(nature.kind, len(gallery), written, len(deleted), recall)


def _made(
    collection: Collection, embeddings: Embeddings, gallery: Gallery, kind: MilvusKind | None
) -> Nature:
    """The collection, which is made where there is none."""
    if kind == "hnsw" and collection.address.is_file:
        raise UsageError("`kind` is hnsw, which Milvus Lite does not have; expected flat or ivf")
    there = nature_of(collection)
    if there is None:
        nature = Nature(kind or "flat", embeddings.provenance)
        collection.make(nature.written(), gallery.dim, nature.kind, len(gallery))
        return nature
    require_collection_of(collection, there, embeddings.provenance, str(embeddings.path))
    if kind not in (None, there.kind):
        raise UsageError(
            f"{collection.address} is searched as {there.kind}, and `kind` is {kind}: name another "
            f"collection"
        )
    collection.ensure_index(there.kind, len(gallery))
    return there


def _begun(collection: Collection, embeddings: Embeddings, gallery: Gallery) -> Record:
    """The record of what is being pushed; a search refuses the collection meanwhile."""
    record = Record(
        store_sha256=embeddings.sha256,
        categories_sha256=categories_sha256(gallery),
        images=len(gallery),
        precision=embeddings.precision,
        recall=None,
    )
    write_record(collection, record)
    return record


def _write(
    collection: Collection, gallery: Gallery, known: Mapping[str, str], progress: Progress
) -> int:
    """Writes the rows that are not there as they are now; how many these are."""
    step, written = max(1, _BYTES // (4 * gallery.dim)), 0
    with progress.task("push", len(gallery), "images") as task:
        for start in range(0, len(gallery), step):
            rows = np.arange(start, min(start + step, len(gallery)))
            written += _write_some(collection, gallery, known, rows)
            task.advance(len(rows))
    return written


def _write_some(
    collection: Collection,
    gallery: Gallery,
    known: Mapping[str, str],
    rows: Int64[np.ndarray, " _"],
) -> int:
    ids = [gallery.ids[row] for row in rows]
    vectors = gallery.vectors_of(rows)
    named = [sorted(gallery.record(image_id).categories) for image_id in ids]
    contents = [_content(*row) for row in zip(vectors, named, strict=True)]
    new = [n for n, content in enumerate(contents) if known.get(ids[n]) != content]
    if new:
        collection.upsert(
            [ids[n] for n in new], vectors[new], [named[n] for n in new], [contents[n] for n in new]
        )
    return len(new)


def _content(vector: Float32[np.ndarray, " dim"], categories: list[str]) -> str:
    """The SHA-256 of what a row holds."""
    digest = hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").tobytes())
    digest.update(json.dumps(categories).encode())
    return digest.hexdigest()


def _require_short(gallery: Gallery) -> None:
    """Raises UsageError where Milvus would not take an id or the name of a category."""
    for what, names in (("id", gallery.ids), ("category", gallery.categories)):
        for name in names:
            if len(name.encode()) > LONGEST:
                raise UsageError(
                    f"the {what} {name[:40]!r}... has {len(name.encode()):,} bytes; Milvus is "
                    f"given {LONGEST:,} at most"
                )


def _require_all(collection: Collection, gallery: Gallery) -> None:
    if (count := collection.count()) != len(gallery):
        raise UnreachableError(
            f"{collection.address} holds {count:,} photos, and {len(gallery):,} were pushed: "
            f"another push may be under way; run the same command again"
        )


def _measured(
    collection: Collection, gallery: Gallery, kind: MilvusKind, embeddings: Embeddings
) -> Recall:
    index = MilvusIndex(collection, gallery, kind, Recall.unknown(), strong=True)
    return RecallSample(gallery, sample_queries(embeddings)).of(index)
