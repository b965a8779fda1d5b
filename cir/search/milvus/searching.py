"""A collection of Milvus as the index of a gallery."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from cir.addresses import MilvusAddress
from cir.artefacts.store import Embeddings
from cir.config import MilvusKind
from cir.errors import StoreError
from cir.search.gallery import Gallery
from cir.search.milvus.client import MOST_FOUND, Collection, search_params
from cir.search.milvus.record import nature_of, require_collection_of, require_filled
from cir.search.proposing import Allowed, Recall
from cir.types import NO_ROW


@dataclass(frozen=True, eq=False)
class MilvusIndex:
    """Proposes what Milvus finds."""

    collection: Collection
    gallery: Gallery
    kind: MilvusKind
    recall: Recall
    strong: bool = False
    """Whether a search sees all that was written before it, at the cost of a wait."""

    @property
    def name(self) -> str:
        return f"{self.kind} in {self.collection.address}"

    def propose(
        self, query: Float32[np.ndarray, " dim"], k: int, allowed: Allowed
    ) -> Int64[np.ndarray, " proposed"]:
        """Asks for as many more rows as are not allowed: these may be the nearest of all."""
        count = self.gallery.first_added
        left_out = self.gallery.first_rows(allowed.category)
        left_out -= int(np.count_nonzero(allowed.rows[:count]))
        most = min(k + left_out, MOST_FOUND)
        how = search_params(self.kind, count, most)
        ids = self.collection.search(query, most, allowed.category, how, strong=self.strong)
        rows = np.array([self.gallery.first_row(image_id) for image_id in ids], dtype=np.int64)
        proposed: Int64[np.ndarray, " proposed"] = rows[rows != NO_ROW]
        return proposed


def open_milvus(address: MilvusAddress, gallery: Gallery, embeddings: Embeddings) -> MilvusIndex:
    """The index of a gallery in Milvus, where its store was pushed to.

    Args:
        address: Where.
        gallery: Of the store, without changes since.
        embeddings: The store.

    Raises:
        StoreError: the collection is missing, is of another encoder, was filled from another store,
            or not to its end; the message says what to do.
        UsageError: cir did not make it, or pymilvus is not installed.
        UnreachableError: nobody answers there.
    """
    _require_file(address, embeddings)
    collection = Collection(address)
    nature = nature_of(collection)
    if nature is None:
        raise StoreError(_not_there(address, embeddings))
    require_collection_of(collection, nature, embeddings.provenance, str(embeddings.path))
    recall = require_filled(collection, embeddings, gallery)
    collection.load()
    return MilvusIndex(collection, gallery, nature.kind, recall)


def _require_file(address: MilvusAddress, embeddings: Embeddings) -> None:
    """Raises StoreError where a search would make an empty file."""
    if address.is_file and not Path(address.uri).is_file():
        raise StoreError(_not_there(address, embeddings))


def _not_there(address: MilvusAddress, embeddings: Embeddings) -> str:
    return (
        f"there is no collection {address}: fill it with cir index push "
        f"`store={str(embeddings.path)!r}` `to={str(address)!r}`"
    )
