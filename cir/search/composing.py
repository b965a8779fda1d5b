"""Queries into vectors: photos and texts encoded together, each once, then composed.

What a query shall be more or less like moves its vector as relevance feedback does (Rocchio 1971;
Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 9.1.1):

    q' = q + 0.75 mean(like) - 0.5 mean(unlike) - 0.5 mean(less)
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32

from cir.artefacts.vectors import normalised
from cir.search.gallery import Gallery
from cir.search.one_thread import threads_for
from cir.search.query import Example, SearchQuery
from cir.search.retriever import Retriever

_LIKE: Final = 0.75
_UNLIKE: Final = 0.5
_LESS: Final = 0.5
_EVEN: Final = 0.5
"""The share of the text at which a combiner's own composition stands."""

Vector = Float32[np.ndarray, " dim"]


class Encoded:
    """The unit vectors of everything that some queries name."""

    def __init__(
        self, retriever: Retriever, gallery: Gallery, queries: Sequence[SearchQuery]
    ) -> None:
        """Encodes each distinct text and photo once; photos of the gallery are looked up."""
        self._gallery = gallery
        texts = list(dict.fromkeys(text for query in queries for text in query.texts))
        photos = {
            id(photo): photo
            for query in queries
            for photo in query.examples
            if not isinstance(photo, str)
        }
        with threads_for(retriever.encoder, len(photos), len(texts)):
            words = retriever.encode_texts(texts) if texts else ()
            pixels = retriever.encode_images(list(photos.values())) if photos else ()
        self._texts: Mapping[str, Vector] = dict(zip(texts, words, strict=True))
        self._photos: Mapping[int, Vector] = dict(zip(photos, pixels, strict=True))

    def image(self, example: Example) -> Vector:
        """The unit vector of a photo."""
        if isinstance(example, str):
            return self._gallery.vector(example)
        return self._photos[id(example)]

    def mean_image(self, examples: Sequence[Example]) -> Vector:
        """The direction of the mean of some photos' unit vectors."""
        return _direction([self.image(example) for example in examples])

    def text(self, text: str) -> Vector:
        """The unit vector of a text."""
        return self._texts[text]

    def mean_text(self, texts: Sequence[str]) -> Vector:
        """The direction of the mean of some texts' unit vectors."""
        return _direction([self.text(text) for text in texts])


def compose_queries(
    retriever: Retriever, queries: Sequence[SearchQuery], encoded: Encoded
) -> Float32[np.ndarray, "queries dim"]:
    """The unit vector of each query.

    Args:
        retriever: Its combiner composes the queries that have both an image and a text.
        queries: What is searched for.
        encoded: Their photos and texts.

    Raises:
        VectorError: a vector has no direction.
    """
    both = [query for query in queries if query.images and query.text]
    composed = dict(zip(map(id, both), _compose(retriever, both, encoded), strict=True))
    rows = [_moved(_start(query, composed, encoded), query, encoded) for query in queries]
    return normalised(np.stack(rows), "composed queries")


def _compose(
    retriever: Retriever, queries: Sequence[SearchQuery], encoded: Encoded
) -> Float32[np.ndarray, "both dim"]:
    """What the combiner makes of each reference and text, shifted to the wanted share."""
    if not queries:
        return np.zeros((0, retriever.dim), dtype=np.float32)
    images = np.stack([encoded.mean_image(query.images) for query in queries])
    texts = np.stack([encoded.text(query.text) for query in queries])
    own = retriever.compose(images, texts)
    shares = np.array([_EVEN if q.weight is None else q.weight for q in queries], np.float32)
    return shifted(images, own, texts, shares)


def shifted(
    images: Float32[np.ndarray, "queries dim"],
    composed: Float32[np.ndarray, "queries dim"],
    texts: Float32[np.ndarray, "queries dim"],
    shares: Float32[np.ndarray, " queries"],
) -> Float32[np.ndarray, "queries dim"]:
    """Between the image (a share of 0), the combiner's composition (0.5) and the text (1).

    Between them the vectors are mixed linearly, so that every combiner has this slider.
    """
    of_image = np.clip(1 - 2 * shares, 0, 1)[:, None]
    of_text = np.clip(2 * shares - 1, 0, 1)[:, None]
    own = 1 - of_image - of_text
    mixed: Float32[np.ndarray, "queries dim"] = of_image * images + own * composed + of_text * texts
    return mixed


def _start(query: SearchQuery, composed: Mapping[int, Vector], encoded: Encoded) -> Vector:
    """The query before it is moved: composed, or the only side that there is."""
    if id(query) in composed:
        return composed[id(query)]
    if query.images:
        return encoded.mean_image(query.images)
    if query.text:
        return encoded.text(query.text)
    return np.zeros_like(encoded.mean_image(query.like))


def _moved(start: Vector, query: SearchQuery, encoded: Encoded) -> Vector:
    moved = start
    if query.like:
        moved = moved + np.float32(_LIKE) * encoded.mean_image(query.like)
    if query.unlike:
        moved = moved - np.float32(_UNLIKE) * encoded.mean_image(query.unlike)
    if query.less:
        moved = moved - np.float32(_LESS) * encoded.mean_text(query.less)
    return moved


def _direction(vectors: Sequence[Vector]) -> Vector:
    (direction,) = normalised(np.mean(vectors, axis=0, keepdims=True), "several photos or texts")
    found: Vector = direction
    return found
