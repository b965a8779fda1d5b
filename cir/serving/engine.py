"""Indexes, pictures and queries, as the routes ask for them.

The gallery and the encoders are touched by one thread alone (`batching`).
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from cir import arguments
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding.preprocess import ENOUGH, PhotoTransform, squared
from cir.errors import ImageError, UsageError
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex, SearchResult, Seconds
from cir.search.living import LivingGallery
from cir.search.query import SearchQuery
from cir.serving.judging import JudgeableQueries, QueryAnswers, SplitQuery
from cir.serving.uploads import decoded_photo


@dataclass(frozen=True)
class Served:
    """An index under the name that requests ask it by."""

    name: str
    title: str
    """In words."""
    trained: bool
    index: SearchIndex


@dataclass(frozen=True)
class Search:
    """A query, and the names of those who answer it."""

    query: SearchQuery
    retrievers: tuple[str, ...]
    queued: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Searched:
    """The results of each retriever, by its name, and where the time went."""

    answers: Mapping[str, list[SearchResult]]
    waiting: float
    """Seconds in the queue."""
    seconds: Seconds
    """Of the whole batch."""


class Engine:
    """What the server answers from."""

    def __init__(
        self,
        served: Sequence[Served],
        dataset: Dataset | None,
        living: LivingGallery | None = None,
    ) -> None:
        """Puts indexes of one gallery together.

        Args:
            served: At least one; all over the same gallery, of whose photos their encoders see
                the same pixels.
            dataset: Where its photos and queries are; None where only vectors are known.
            living: The same gallery with its changes; None where it has none and takes none.

        Raises:
            DatasetError: a query of the dataset is malformed.
        """
        arguments.require("served", served, "an index at least", holds=bool(served))
        self.served = {each.name: each for each in served}
        self.gallery: Gallery = served[0].index.gallery
        self.dataset = dataset
        self.living = living
        self.queries = JudgeableQueries(dataset, self.gallery)

    def search_all(self, searches: Sequence[Search]) -> list[Searched]:
        """The answers to each search; those of one retriever pass the encoder together."""
        started, seconds = time.perf_counter(), Seconds()
        answers: list[dict[str, list[SearchResult]]] = [{} for _ in searches]
        for name, served in self.served.items():
            asked = [n for n, search in enumerate(searches) if name in search.retrievers]
            if asked:
                queries = [searches[n].query for n in asked]
                results = served.index.search_all(queries, seconds)
                for n, found in zip(asked, results, strict=True):
                    answers[n][name] = found
        return [
            Searched(found, started - search.queued, seconds)
            for search, found in zip(searches, answers, strict=True)
        ]

    def judge(self, item: SplitQuery, retrievers: Sequence[str], top: int) -> QueryAnswers:
        """Each retriever's ranks of a query's true targets, and its best among the same photos."""
        return self.queries.judge(item, {name: self.served[name].index for name in retrievers}, top)

    def words(self, category: str | None) -> dict[str, list[tuple[str, int]]]:
        """The words of each attribute with their photos, the most frequent first."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for image_id in self.gallery.image_ids:
            record = self.gallery.record(image_id)
            if category is None or category in record.categories:
                for attribute, word in record.attributes.items():
                    counts[attribute][word] += 1
        frequent = sorted(counts.items(), key=lambda item: -item[1].total())
        return {attribute: words.most_common() for attribute, words in frequent}

    def require_living(self) -> LivingGallery:
        """The gallery that takes changes; raises UsageError where it takes none."""
        if self.living is None:
            raise UsageError("the gallery takes no changes: pass `writable=True`")
        return self.living

    def has_photo(self, image_id: str) -> bool:
        """Whether the pixels of a photo are known, not its vector alone."""
        if image_id not in self.gallery:
            return False
        return self.gallery.image(image_id).file is not None or self.gallery.was_added(image_id)

    def photo_key(self, image_id: str) -> str:
        """What changes with a photo's content: its digest, or its row where none is known."""
        row = self.gallery.row(image_id)
        return self.gallery.digest(row) or f"row-{row}"

    def read_upload(self, encoded: bytes) -> Image.Image:
        """A photo that came with a request, as the encoders see it: what waits is that small.

        It is read as files are (`cir.encoding.embedding`), so that its vector is the same.

        Raises:
            ImageError: it is no image of a known format, damaged, or has more pixels than it may.
        """
        encoder = next(iter(self.served.values())).index.retriever.encoder
        photo = decoded_photo(encoded, least=ENOUGH * encoder.image_size)
        own = encoder.preprocess
        if not isinstance(own, PhotoTransform):
            return photo
        return squared(photo, own.most_ratio, own.size)

    def read_photo(self, image_id: str, *, least: int) -> Image.Image:
        """A photo of the gallery, decoded.

        Args:
            image_id: Its id.
            least: Pixels of the shorter edge that are enough.

        Raises:
            ImageError: its file is unknown, missing or damaged.
        """
        added = self.living.photo_bytes(image_id) if self.living else None
        if added is not None:
            return decoded_photo(added, least=least)
        file = self.gallery.image(image_id).file
        if file is None:
            raise ImageError(f"only the vector of {image_id!r} is known")
        return read_image(file, least=least)
