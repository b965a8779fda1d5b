"""How much an index finds of what comparing every row finds, on a sample of queries."""

from typing import Final

import numpy as np
from jaxtyping import Float32

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.search.gallery import Gallery
from cir.search.proposing import SPARE, Allowed, Proposing, Recall

TOP: Final = 10
_QUERIES: Final = 200
_BLOCK: Final = 1 << 14
"""Rows compared at once."""
_ROUNDING: Final = np.float32(1e-6)


def sample_queries(embeddings: Embeddings) -> Float32[np.ndarray, "queries dim"]:
    """Queries as people make them: sums of a photo of a store and one of its captions.

    Photos alone of a store without captions. They are spread evenly over the store.
    """
    images = _spread(embeddings.images, "images")
    if not embeddings.captions.keys:
        return images
    texts = _spread(embeddings.captions, "captions")
    return normalised(images + np.resize(texts, images.shape), "sums of photos and captions")


class RecallSample:
    """A sample of queries with what comparing every row finds for them."""

    def __init__(self, gallery: Gallery, queries: Float32[np.ndarray, "queries dim"]) -> None:
        """Compares every row.

        Args:
            gallery: Nothing was added to it or removed from it yet.
            queries: Unit vectors.
        """
        self._gallery, self._queries = gallery, queries
        self._top = min(TOP, gallery.first_added)
        self._least = _least(gallery, queries, self._top)

    def of(self, proposing: Proposing) -> Recall:
        """What an index of the gallery finds."""
        allowed, found = Allowed(self._gallery.searchable), 0
        for query, least in zip(self._queries, self._least, strict=True):
            rows = proposing.propose(query, self._top + SPARE, allowed)
            near = self._gallery.similarities(query, rows) >= least - _ROUNDING
            found += min(self._top, int(np.count_nonzero(near)))
        return Recall(found / (self._top * len(self._queries)), len(self._queries), self._top)


def _spread(table: VectorTable, what: str) -> Float32[np.ndarray, "some dim"]:
    count = len(table.keys)
    rows = np.arange(min(_QUERIES, count)) * count // min(_QUERIES, count)
    return normalised(table.vectors, what, rows)


def _least(
    gallery: Gallery, queries: Float32[np.ndarray, "queries dim"], top: int
) -> Float32[np.ndarray, " queries"]:
    """The similarity of the last of each query's `top` nearest rows, a block of rows at a time."""
    best = np.full((len(queries), top), -np.inf, dtype=np.float32)
    for start in range(0, gallery.first_added, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, gallery.first_added))
        both = np.concatenate([best, queries @ gallery.vectors_of(rows).T], axis=1)
        best = np.partition(both, both.shape[1] - top, axis=1)[:, -top:]
    least: Float32[np.ndarray, " queries"] = best.min(axis=1)
    return least
