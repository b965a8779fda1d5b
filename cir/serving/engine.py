"""Indexes, pictures and queries, as the routes ask for them.

The gallery and the encoders are touched by one thread alone (`batching`).
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from cir import arguments
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.data.queries import Query
from cir.encoding.preprocess import ENOUGH, PhotoTransform, squared
from cir.errors import ImageError, UsageError
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex, SearchResult, Seconds, TargetRank
from cir.search.living import LivingGallery
from cir.search.query import SearchQuery
from cir.serving.uploads import decoded_photo
from cir.types import Split


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


@dataclass(frozen=True)
class Judged:
    """A retriever's answer to a query of the dataset."""

    targets: list[TargetRank]
    results: list[SearchResult]


@dataclass(frozen=True)
class SplitQuery:
    """A query of the dataset with its split."""

    split: Split
    query: Query

    @property
    def text(self) -> str:
        """The captions joined, as evaluation has them."""
        return joined(self.query.captions)


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
        self.queries: Mapping[str, SplitQuery] = {item.query.id: item for item in self._judgeable()}
        """The queries whose reference and a target of theirs are in the gallery, by id."""

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

    def judge(self, item: SplitQuery, retrievers: Sequence[str], top: int) -> dict[str, Judged]:
        """Each retriever's ranks of a query's true targets, and its best among the same photos."""
        ranked = self.ranked_ids(item)
        targets = [i for i in item.query.target_ids if i in set(ranked)]
        query = SearchQuery(
            images=(item.query.reference_id,),
            text=item.text,
            top=top,
            without=frozenset(self.gallery.image_ids) - frozenset(ranked),
            copies=True,
        )
        judged = {}
        for name in retrievers:
            index = self.served[name].index
            ranks = sorted(index.target_ranks(query, targets, ranked), key=lambda t: t.rank)
            judged[name] = Judged(ranks, index.search_all([query])[0])
        return judged

    def ranked_ids(self, item: SplitQuery) -> list[str]:
        """The photos that a query's targets are ranked among: its category's split."""
        ids = self.dataset.gallery(item.split, item.query.category) if self.dataset else ()
        return [image_id for image_id in ids if image_id in self.gallery]

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

    def _judgeable(self) -> Iterator[SplitQuery]:
        if self.dataset is None:
            return
        for split in self.dataset.splits:
            for query in self.dataset.queries_or_none(split):
                if self._can_be_judged(query):
                    yield SplitQuery(split, query)

    def _can_be_judged(self, query: Query) -> bool:
        known = any(target in self.gallery for target in query.target_ids)
        return known and query.reference_id in self.gallery and bool(joined(query.captions))
