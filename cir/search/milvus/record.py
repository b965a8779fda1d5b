"""What a collection says of itself: which encoder it is of, and which store filled it.

Its description says what never changes. What a push changes stands in a collection beside it,
`COLLECTION_cir`, since Milvus Lite cannot change a description.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from cir.artefacts.checksums import shortened
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.config import MilvusKind
from cir.errors import StoreError, UsageError
from cir.search.gallery import Gallery
from cir.search.milvus.client import Collection
from cir.search.proposing import Recall

SCHEMA_VERSION: Final = 1
_MADE_BY: Final = "cir"
_BESIDE: Final = "_cir"
"""What the name of the collection beside it adds."""


@dataclass(frozen=True)
class Nature:
    """What a collection is, for good."""

    kind: MilvusKind
    provenance: Provenance

    def written(self) -> str:
        """As a collection's description."""
        known = {"made_by": _MADE_BY, "schema_version": SCHEMA_VERSION, "kind": self.kind}
        return json.dumps(known | asdict(self.provenance))


@dataclass(frozen=True)
class Record:
    """What a push made of a collection."""

    store_sha256: str
    categories_sha256: str
    """Of every photo's categories: a dataset may change them while its store stays."""
    images: int
    precision: str | None
    """Of the arithmetic that made the vectors; None where the store does not say."""
    recall: Recall | None
    """None while the collection is being filled."""


def nature_of(collection: Collection) -> Nature | None:
    """What a collection is; None where there is none.

    Raises:
        UsageError: somebody else made it, or another version of cir.
    """
    said = collection.description(collection.name)
    if said is None:
        return None
    known = _described(said)
    if known is None or known.get("schema_version") != SCHEMA_VERSION:
        which = "another version of cir" if known else "cir"
        raise UsageError(
            f"{collection.address} was {'made by' if known else 'not made by'} {which}, and is "
            f"left as it is: name another collection"
        )
    kind: MilvusKind = next(k for k in get_args(MilvusKind) if k == known["kind"])
    fields = {name: known[name] for name in Provenance.__dataclass_fields__}
    return Nature(kind, Provenance(**fields))


def record_of(collection: Collection) -> Record | None:
    """What was pushed into a collection; None where nothing was."""
    text = collection.read_text(collection.name + _BESIDE)
    if text is None:
        return None
    known = json.loads(text)
    recall = known.pop("recall")
    return Record(**known, recall=Recall(**recall) if recall else None)


def write_record(collection: Collection, record: Record) -> None:
    """Says what is pushed into a collection.

    Raises:
        UsageError: the collection beside it is somebody else's.
    """
    beside, mine = collection.name + _BESIDE, json.dumps({"made_by": _MADE_BY})
    said = collection.description(beside)
    if said is not None and _described(said) is None:
        raise UsageError(
            f"the collection {beside} beside {collection.address} was not made by cir, and is left "
            f"as it is: name another collection"
        )
    collection.write_text(beside, mine, json.dumps(asdict(record)))


def require_collection_of(
    collection: Collection, nature: Nature, provenance: Provenance, store: str
) -> None:
    """Raises StoreError unless a collection's vectors are of a store's encoder."""
    nature.provenance.require_same(
        provenance, str(collection.address), f"{store} (name another collection)", StoreError
    )


def require_filled(collection: Collection, embeddings: Embeddings, gallery: Gallery) -> Recall:
    """What a collection finds, where this store was pushed into it, to its end.

    Raises:
        StoreError: it was filled from another store, or not to the end.
    """
    record, address, store = record_of(collection), collection.address, embeddings.path
    push = f"cir index push `store={str(store)!r}` `to={str(address)!r}`"
    if record is None or record.recall is None:
        raise StoreError(f"{address} is not filled to its end: run {push}")
    if record.store_sha256 != embeddings.sha256:
        raise StoreError(
            f"{address} was filled from another store than {store} (SHA-256 "
            f"{shortened(record.store_sha256)} there, {shortened(embeddings.sha256)} here): "
            f"run {push}"
        )
    if record.categories_sha256 != categories_sha256(gallery):
        raise StoreError(
            f"{address} has other categories than the dataset of {store} has now: run {push} with "
            f"the same `dataset`"
        )
    if (count := collection.count()) != record.images:
        raise StoreError(f"{address} holds {count:,} of {record.images:,} photos: run {push}")
    return record.recall


def categories_sha256(gallery: Gallery) -> str:
    """A digest of the categories of all photos of a gallery."""
    digest = hashlib.sha256()
    for image_id in gallery.ids:
        named = sorted(gallery.record(image_id).categories)
        digest.update(json.dumps([image_id, *named]).encode())
    return digest.hexdigest()


def _described(said: str) -> dict[str, Any] | None:
    """A description that cir wrote; None of another."""
    try:
        known = json.loads(said)
    except ValueError:
        return None
    return known if isinstance(known, dict) and known.get("made_by") == _MADE_BY else None
