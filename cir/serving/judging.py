"""Queries of the dataset, judged by the protocol that `cir evaluate` has for their benchmark.

Targets and results stand in one order: a photo that is both has one rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cir.config import ReferenceRule
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.evaluation.protocol import standard_protocol
from cir.search.gallery import Gallery
from cir.search.index import PhotoRank, SearchIndex, SearchResult
from cir.search.query import SearchQuery
from cir.types import Split


@dataclass(frozen=True)
class SplitQuery:
    """A query of the dataset with its split."""

    split: Split
    query: Query
    reference_rule: ReferenceRule
    """Whether the reference is ranked, by the protocol of the dataset's benchmark."""

    @property
    def text(self) -> str:
        """The captions joined, as evaluation has them."""
        return joined(self.query.captions)


@dataclass(frozen=True)
class RetrieverAnswer:
    """A retriever's answer to a query of the dataset."""

    targets: list[PhotoRank]
    """The best first."""
    results: list[SearchResult]


@dataclass(frozen=True)
class QueryAnswers:
    """The answers to a query of the dataset, by the names of retrievers."""

    item: SplitQuery
    ranked: int
    """Photos that targets and results are ranked among."""
    answers: Mapping[str, RetrieverAnswer]


class JudgeableQueries:
    """The queries that can be judged, as photos come and go."""

    def __init__(self, dataset: Dataset | None, gallery: Gallery) -> None:
        """Reads every query.

        Args:
            dataset: Where they are; None where only vectors are known.
            gallery: What is searched.

        Raises:
            DatasetError: a query is malformed.
        """
        self._dataset, self._gallery = dataset, gallery
        self._by_id = {item.query.id: item for item in _captioned(dataset)}

    def __iter__(self) -> Iterator[SplitQuery]:
        return filter(self._can_be_judged, self._by_id.values())

    def get(self, query_id: str) -> SplitQuery | None:
        """A query by its id; None where there is none that can be judged now."""
        item = self._by_id.get(query_id)
        return item if item is not None and self._can_be_judged(item) else None

    def judge(self, item: SplitQuery, indexes: Mapping[str, SearchIndex], top: int) -> QueryAnswers:
        """Where a query's true targets stand, and the best of the same photos.

        Args:
            item: A query of the dataset.
            indexes: Who answers, by name; over the same gallery.
            top: How many results.
        """
        ranked = self._ranked_ids(item)
        answers = {name: _judged(index, item, ranked, top) for name, index in indexes.items()}
        return QueryAnswers(item, len(ranked), answers)

    def _can_be_judged(self, item: SplitQuery) -> bool:
        known = any(target in self._gallery for target in item.query.target_ids)
        return known and item.query.reference_id in self._gallery

    def _ranked_ids(self, item: SplitQuery) -> list[str]:
        """The photos of a query's category and split, in the order that breaks ties."""
        ids = self._dataset.gallery(item.split, item.query.category) if self._dataset else ()
        excluded = item.query.reference_id if item.reference_rule == "removed" else None
        return [i for i in ids if i in self._gallery and i != excluded]


def _captioned(dataset: Dataset | None) -> Iterator[SplitQuery]:
    if dataset is None:
        return
    for split in dataset.splits:
        rule = standard_protocol(dataset.form, split).reference
        for query in dataset.queries_or_none(split):
            item = SplitQuery(split, query, rule)
            if item.text:
                yield item


def _judged(
    index: SearchIndex, item: SplitQuery, ranked: Sequence[str], top: int
) -> RetrieverAnswer:
    """One order of all ranked photos gives both; of equals the first comes first."""
    query = SearchQuery(images=(item.query.reference_id,), text=item.text)
    placed = index.ranked(query, ranked)
    true = frozenset(item.query.target_ids)
    targets = [each for each in placed if each.id in true]
    return RetrieverAnswer(targets, [_result(index.gallery, each) for each in placed[:top]])


def _result(gallery: Gallery, placed: PhotoRank) -> SearchResult:
    image = gallery.image(placed.id)
    return SearchResult(placed.rank, image.id, placed.score, image.file, image.record, ())
