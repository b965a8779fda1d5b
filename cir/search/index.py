"""A retriever over a gallery: what `cir.load(RUN).index(STORE)` gives."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from PIL import Image

from cir import arguments
from cir.errors import UsageError, VectorError
from cir.search.composing import Encoded, compose_queries
from cir.search.copies import Folding, Found
from cir.search.gallery import Gallery, ImageRecord
from cir.search.inputs import require_photo, require_query_text
from cir.search.one_thread import threads_to_compare
from cir.search.proposing import Allowed, Recall
from cir.search.query import Example, SearchQuery
from cir.search.retriever import Retriever
from cir.search.scan import Scan, scans_of

_SPARE: Final = 3
"""Rows looked at for each result that is wanted: copies among them are folded."""
_LEAST: Final = 32
"""Rows looked at at first, at least."""

Examples = Example | Iterable[Example]
"""One photo, or several."""


@dataclass(frozen=True)
class SearchResult:
    """A photo that was found."""

    rank: int
    """1 is the best."""
    id: str
    score: float
    """Its cosine similarity to the query, -1 to 1."""
    file: Path | None
    """None where only its vector is known, or it was added while searching."""
    record: ImageRecord
    """Its title, categories and attributes."""
    copies: tuple[str, ...]
    """Ids of near-copies that it stands for."""


@dataclass
class Seconds:
    """Where the time of a search went."""

    encode: float = 0.0
    compose: float = 0.0
    search: float = 0.0

    @contextmanager
    def measured(self, step: str) -> Iterator[None]:
        """Adds what the block takes to `encode`, `compose` or `search`."""
        started = time.perf_counter()
        yield
        setattr(self, step, getattr(self, step) + time.perf_counter() - started)


@dataclass(frozen=True)
class PhotoRank:
    """Where a photo stands among others."""

    id: str
    rank: int
    """1 is the best."""
    score: float


class SearchIndex:
    """A retriever, and the gallery that it searches."""

    def __init__(self, retriever: Retriever, gallery: Gallery) -> None:
        """Puts them together.

        Raises:
            VectorError: the gallery's vectors are of another dimension than the retriever's.
        """
        if gallery.dim != retriever.dim:
            raise VectorError(
                f"the gallery holds {gallery.dim}-d vectors; the retriever gives {retriever.dim}-d "
                f"ones"
            )
        self.retriever = retriever
        self.gallery = gallery

    def __len__(self) -> int:
        return len(self.gallery)

    @property
    def recall(self) -> Recall | None:
        """What an approximate index was measured to find; None where the search is exact."""
        proposing = self.gallery.proposing
        return None if proposing is None else proposing.recall

    def prepare_for_many(self) -> None:
        """Takes some seconds now for a large gallery, after which exact searches are faster."""
        if self.recall is None:
            self.gallery.turn()

    def search(
        self,
        image: Examples | None = None,
        text: str = "",
        *,
        top: int = 10,
        category: str | None = None,
        without: Iterable[str] = (),
        like: Examples = (),
        unlike: Examples = (),
        less: str | Iterable[str] = (),
        weight: float | None = None,
        copies: bool = False,
    ) -> list[SearchResult]:
        """The photos nearest to a reference, a text, or a reference changed by a text.

            index.search("dress.jpg", "is red and shorter", top=5)

        Args:
            image: The reference: an id of the gallery, a file, or an image; several count as their
                mean. It is no result, nor are its copies.
            text: What to change of the reference, or what to find where there is none; of at most
                1,000 characters, and what is past the encoder's context is not read.
            top: How many results, 1 to 1,000.
            category: The category to search; all where it is None.
            without: Ids of the gallery that are never results.
            like: Photos that the results shall be more like; they are no results.
            unlike: Photos that the results shall be less like; they are no results.
            less: A text, or several, that the results shall be less like.
            weight: The share of the text: 0 is the image alone, 1 the text alone, 0.5 and None
                what the combiner makes of both; refused where either is missing.
            copies: Whether near-copies (cosine 0.99 or more) are results of their own; else each
                is folded into the better one, and the reference's are left out.

        Returns:
            The best first; fewer than `top` where the gallery has no more.

        Raises:
            UsageError: there is nothing to search for, or an argument is of another kind or range.
            ImageError: a file is missing, damaged, or no image.
        """
        query = SearchQuery(
            images=self._examples("image", () if image is None else image),
            text=require_query_text("text", text),
            like=self._examples("like", like),
            unlike=self._examples("unlike", unlike),
            less=_texts("less", less),
            top=arguments.integer("top", top, 1),
            category=category,
            without=frozenset(self._ids("without", without)),
            weight=weight,
            copies=copies,
        )
        (results,) = self.search_all([query])
        return results

    def search_all(
        self, queries: Sequence[SearchQuery], seconds: Seconds | None = None
    ) -> list[list[SearchResult]]:
        """The results of each query; all photos and texts pass the encoder together.

        Args:
            queries: What is searched for.
            seconds: Told where the time went.
        """
        seconds = seconds or Seconds()
        with seconds.measured("encode"):
            encoded = Encoded(self.retriever, self.gallery, queries)
        with threads_to_compare(len(queries), len(self.gallery)):
            with seconds.measured("compose"):
                composed = compose_queries(self.retriever, queries, encoded)
            with seconds.measured("search"):
                scans = scans_of(self.gallery, composed, [self._allowed(q) for q in queries])
                pairs = zip(queries, scans, strict=True)
                return [self._results(query, scan, encoded) for query, scan in pairs]

    def target_ranks(
        self, query: SearchQuery, targets: Sequence[str], gallery: Sequence[str] | None = None
    ) -> list[PhotoRank]:
        """Where known targets stand among some photos, every one of which counts.

        This is the rank that `cir evaluate` reports: nothing is left out or folded.

        Args:
            query: What is searched for.
            targets: Ids of the gallery.
            gallery: Ids of the photos that are ranked; all where it is None.
        """
        rank_of = {each.id: each for each in self.ranked(query, gallery)}
        return [rank_of[target] for target in targets]

    def ranked(self, query: SearchQuery, gallery: Sequence[str] | None = None) -> list[PhotoRank]:
        """Every one of some photos with its rank, the best first; of equals the earlier is before.

        Args:
            query: What is searched for.
            gallery: Ids of the photos that are ranked; all where it is None.
        """
        encoded = Encoded(self.retriever, self.gallery, [query])
        (composed,) = compose_queries(self.retriever, [query], encoded)
        ids = self.gallery.image_ids if gallery is None else gallery
        rows = np.array([self.gallery.row(image_id) for image_id in ids], dtype=np.int64)
        similarities = self.gallery.similarities(composed, rows)
        order = np.argsort(-similarities, kind="stable")
        pairs = zip(order.tolist(), similarities[order].tolist(), strict=True)
        return [
            PhotoRank(ids[place], rank, score) for rank, (place, score) in enumerate(pairs, start=1)
        ]

    def _results(self, query: SearchQuery, scan: Scan, encoded: Encoded) -> list[SearchResult]:
        if query.copies:
            nearest = scan.nearest(query.top)
            pairs = zip(nearest.rows.tolist(), nearest.similarities.tolist(), strict=True)
            found = list(starmap(Found, pairs))
        else:
            found = self._folded(query, scan, encoded)
        return [self._result(rank, each) for rank, each in enumerate(found, start=1)]

    def _folded(self, query: SearchQuery, scan: Scan, encoded: Encoded) -> list[Found]:
        """`top` results where the gallery has as many, looking ever farther."""
        folding = Folding(self.gallery, *self._references(query, encoded), query.top)
        wanted = max(_LEAST, _SPARE * query.top)
        while True:
            nearest = scan.nearest(wanted)
            folding.add(nearest)
            if len(folding.found) >= query.top or len(nearest.rows) < wanted:
                return folding.found
            wanted *= 2

    def _allowed(self, query: SearchQuery) -> Allowed:
        """The rows that may be results."""
        gallery = self.gallery
        rows = gallery.searchable if query.category is None else gallery.in_category(query.category)
        left_out = [i for i in query.examples if isinstance(i, str)]
        for image_id in (*left_out, *query.without):
            if image_id in gallery:
                rows[gallery.row(image_id)] = False
        return Allowed(rows, query.category)

    def _references(
        self, query: SearchQuery, encoded: Encoded
    ) -> tuple[Float32[np.ndarray, "references dim"], list[str]]:
        """The unit vectors of the query's references, and the digests of those in the gallery."""
        vectors = [encoded.image(image) for image in query.images]
        rows = [self.gallery.row(image) for image in query.images if isinstance(image, str)]
        stacked = np.stack(vectors) if vectors else np.zeros((0, self.gallery.dim), np.float32)
        return stacked, [self.gallery.digest(row) for row in rows]

    def _result(self, rank: int, found: Found) -> SearchResult:
        image = self.gallery.image(self.gallery.ids[found.row])
        copies = tuple(self.gallery.ids[row] for row in found.copies)
        return SearchResult(rank, image.id, found.similarity, image.file, image.record, copies)

    def _examples(self, name: str, given: Examples) -> tuple[Example, ...]:
        """Photos as a query holds them: ids of the gallery as texts, files as paths."""
        one = isinstance(given, str | Path | Image.Image) or not isinstance(given, Iterable)
        items = [given] if one else list(given)  # type: ignore[arg-type]
        return tuple(self._example(name, item) for item in items)

    def _ids(self, name: str, given: object) -> tuple[str, ...]:
        """One id of the gallery, or several."""
        ids = _texts(name, given)
        unknown = next((image_id for image_id in ids if image_id not in self.gallery), None)
        if unknown is not None:
            raise UsageError(
                f"`{name}` is {unknown!r}; expected an id of the gallery's {len(self):,} photos"
            )
        return ids

    def _example(self, name: str, given: object) -> Example:
        if isinstance(given, str) and given in self.gallery:
            return given
        photo = require_photo(name, given)
        if isinstance(given, str) and isinstance(photo, Path) and not photo.exists():
            raise UsageError(
                f"`{name}` is {given!r}; expected an id of the gallery's {len(self):,} photos, or "
                f"a file"
            )
        return photo


def _texts(name: str, given: object) -> tuple[str, ...]:
    """One text, or several."""
    items = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    return tuple(require_query_text(name, item) for item in items)
