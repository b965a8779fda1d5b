"""One set of queries ranked again and again, under one protocol or several.

What does not change from one judgement to the next (which queries count, where targets stand in the
galleries, what captions are read as) is looked up once. A judgement composes every query once and
compares it with its category's images once, whatever the number of protocols: each protocol reads
its ranks from the same similarities.

`Evaluator` has a `_CategoryEvaluator` for each category. That one keeps the `_TaskIndices` of each
protocol, and a `_RankRecorder` for each of them takes down ranks block by block.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.data.queries import Query
from cir.errors import UsageError
from cir.evaluation.protocol import Protocol, RankingTask, ranking_tasks, texts_by_order
from cir.evaluation.ranks import CategoryRanks, Rankings, Ranks, SubsetRanks
from cir.evaluation.retrieval import (
    best_targets,
    by_similarity,
    nearest_columns,
    padded,
    retrievable,
    similarity_blocks,
)
from cir.models.composition import compose
from cir.progress import SILENT, Progress, Task
from cir.types import NO_ROW


class Evaluator:
    """Judges combiners by the same queries, galleries and protocols."""

    def __init__(
        self,
        queries: Iterable[Query],
        galleries: Mapping[str, Sequence[str]],
        embeddings: Embeddings,
        protocols: Iterable[Protocol],
        *,
        device: torch.device | str,
        every_image: Sequence[str] = (),
        judged: bool = True,
    ) -> None:
        """Looks up everything but vectors.

        Args:
            queries: Queries of one split.
            galleries: Image ids of the split by category.
            embeddings: Says which images were embedded and which were skipped.
            protocols: At least one, all of the same split.
            device: Where vectors are composed and compared.
            every_image: The image ids of the whole dataset, for protocols whose gallery is `all`.
            judged: Whether each query must have a target. The rankings that a test split's server
                takes are made without.

        Raises:
            UsageError: there is no protocol, or the queries have no targets, as those of a test
                split, and shall be judged, or a gallery is `all` and `every_image` is empty.
            DatasetError: a category has no gallery, a target is in none, or no query is left.
        """
        queries, self.protocols = tuple(queries), tuple(protocols)
        if not self.protocols:
            raise UsageError("`protocols` is empty; expected at least one")
        self._query_count = len(queries)
        tasks = [
            ranking_tasks(
                queries, galleries, embeddings, protocol, every_image=every_image, judged=judged
            )
            for protocol in self.protocols
        ]
        self._categories = [
            _CategoryEvaluator(
                [query for query in queries if query.category == name],
                [_of_category(protocol_tasks, name) for protocol_tasks in tasks],
                self.protocols,
                [i for i in galleries.get(name, ()) if i not in embeddings.skipped],
                embeddings,
                torch.device(device),
            )
            for name in sorted(
                {task.category for protocol_tasks in tasks for task in protocol_tasks}
            )
        ]

    def judge(
        self,
        embeddings: Embeddings,
        combiner: nn.Module,
        *,
        listed: int = 0,
        progress: Progress = SILENT,
    ) -> list[Ranks]:
        """The ranks under each protocol, in the order of the protocols.

        Args:
            embeddings: Vectors of every image and caption, by the encoder the combiner was made
                for. Rows are looked up again only where the tables are not those of the last call.
            combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
            listed: How many of the nearest images to list for each query; with 0, none are.
            progress: Shows queries per second.

        Raises:
            UsageError: `listed` is below 0.
            StoreError: an image or a text has no vector.
            VectorError: a vector has no direction.
        """
        if listed < 0:
            raise UsageError(f"`listed` is {listed}; expected at least 0")
        comparisons = sum(category.comparisons for category in self._categories)
        with progress.task("rank", comparisons, "queries") as task:
            by_category = [
                category.judge(embeddings, combiner, listed, task) for category in self._categories
            ]
        return [
            self._ranks(protocol, [ranks[protocol_index] for ranks in by_category])
            for protocol_index, protocol in enumerate(self.protocols)
        ]

    def _ranks(self, protocol: Protocol, by_category: Sequence[CategoryRanks | None]) -> Ranks:
        categories = tuple(ranks for ranks in by_category if ranks is not None)
        kept = sum(len(ranks.task.queries) for ranks in categories)
        return Ranks(protocol, categories, self._query_count - kept)


class _CachedRows:
    """Rows of some keys in a table, looked up once for as long as the table is the same."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._table: VectorTable | None = None

    def look_up(self, table: VectorTable) -> bool:
        """Finds the rows of `table`; whether it is another table than at the last call."""
        if table is self._table:
            return False
        self._table, self._rows = table, table.rows(self._keys)
        return True

    def take(self, table: VectorTable) -> Float[np.ndarray, "keys dim"]:
        """The vectors, in the order of the keys."""
        self.look_up(table)
        vectors: Float[np.ndarray, "keys dim"] = table.vectors[self._rows]
        return vectors


class _CategoryEvaluator:
    """One category: the queries and images of all protocols together, each of them once."""

    def __init__(
        self,
        queries: Sequence[Query],
        tasks: Sequence[RankingTask | None],
        protocols: Sequence[Protocol],
        gallery: Sequence[str],
        embeddings: Embeddings,
        device: torch.device,
    ) -> None:
        present = [task for task in tasks if task is not None]
        kept = {query.id for task in present for query in task.queries}
        queries = [query for query in queries if query.id in kept]
        self._name, self._device = present[0].category, device
        self._images = _images(queries, present, gallery, embeddings)
        self._indices = [
            None if task is None else _task_indices(task, protocol, queries, self._images, device)
            for task, protocol in zip(tasks, protocols, strict=True)
        ]
        both = any(protocol.captions == "both-orders" for protocol in protocols)
        orders = texts_by_order(queries, "both-orders" if both else "joined")
        self._texts = [_CachedRows(texts) for texts in orders]
        self._references = _CachedRows([query.reference_id for query in queries])
        self._gallery = _CachedRows(self._images)
        self.comparisons = len(queries) * len(self._texts)
        """Queries that are compared with the images, once for each text."""

    def judge(
        self, embeddings: Embeddings, combiner: nn.Module, listed: int, task: Task
    ) -> list[CategoryRanks | None]:
        """The ranks under each protocol; None where it leaves no query of the category."""
        gallery = self._gallery_vectors(embeddings)
        recorders = [
            None if indices is None else _RankRecorder(indices, self._images, listed)
            for indices in self._indices
        ]
        for order, texts in enumerate(self._texts):
            queries = self._composed(texts, embeddings, combiner)
            for rows, similarities in similarity_blocks(queries, gallery):
                for recorder in recorders:
                    if recorder is not None:
                        recorder.record(order, rows.start, similarities)
                task.advance(len(similarities))
        return [None if recorder is None else recorder.ranks() for recorder in recorders]

    def _gallery_vectors(self, embeddings: Embeddings) -> Float[Tensor, "gallery dim"]:
        """Unit vectors of the images."""
        if self._gallery.look_up(embeddings.images):
            vectors = self._gallery.take(embeddings.images)
            unit = normalised(vectors, f"the {self._name} gallery")
            self._unit_gallery = torch.from_numpy(unit).to(self._device)
        return self._unit_gallery

    def _composed(
        self, texts: _CachedRows, embeddings: Embeddings, combiner: nn.Module
    ) -> Float[Tensor, "queries dim"]:
        """The queries, their captions read as `texts`."""
        references = self._references.take(embeddings.images)
        captions = texts.take(embeddings.captions)
        composed = compose(combiner, references, captions, device=self._device)
        return torch.from_numpy(composed).to(self._device)


@dataclass(frozen=True, eq=False)
class _TaskIndices:
    """A protocol's task by rows of the category's queries and columns of its images."""

    task: RankingTask
    texts: tuple[tuple[str, ...], ...]
    query_rows: Int[np.ndarray, " queries"]
    """Ascending."""
    targets: Int[Tensor, "queries most"]
    """Columns of each query's targets, padded with `NO_ROW`."""
    excluded: Int[Tensor, " queries"]
    """The column that each query may not retrieve, or `NO_ROW`."""
    in_gallery: Bool[Tensor, " gallery"] | None
    """The images that may be retrieved; None where all may."""
    members: Int[Tensor, "queries members"]
    """Ascending columns of each subset, padded with `NO_ROW`; no columns without subsets."""
    subset_sizes: Int64[np.ndarray, " queries"]
    """Images of each subset that have a vector."""
    subset_expected: Int64[np.ndarray, " queries"]
    """Images of each subset that the dataset names."""

    @property
    def has_subsets(self) -> bool:
        """Whether recall within subsets is counted: every query has one."""
        return bool(self.subset_expected.all())


class _RankRecorder:
    """Takes down the ranks of one task, block by block."""

    def __init__(self, indices: _TaskIndices, images: tuple[str, ...], listed: int) -> None:
        self._indices, self._images = indices, images
        shape = (len(indices.texts), len(indices.query_rows))
        self._ranks = np.zeros(shape, dtype=np.int64)
        self._subset_ranks = np.zeros(shape, dtype=np.int64)
        self._rankings = (
            _empty_rankings(shape, min(listed, len(images)), indices.members.shape[1])
            if listed
            else None
        )

    def record(self, order: int, start: int, similarities: Float[Tensor, "block gallery"]) -> None:
        """Takes down the ranks of consecutive queries of the category.

        Args:
            order: Which order of captions the queries were composed with.
            start: The row of the first query in the category.
            similarities: Of these queries with the category's images.
        """
        indices = self._indices
        if order >= len(indices.texts):
            return
        block = slice(*np.searchsorted(indices.query_rows, (start, start + len(similarities))))
        rows = indices.query_rows[block] - start
        if len(rows) < len(similarities):
            similarities = similarities[torch.from_numpy(rows).to(similarities.device)]
        allowed = retrievable(similarities, indices.excluded[block], indices.in_gallery)
        ranks, best = best_targets(allowed, indices.targets[block])
        self._ranks[order, block] = ranks.cpu().numpy()
        members = by_similarity(similarities, indices.members[block])
        if indices.has_subsets:
            within = _ranks_within(members, indices.targets[block])
            self._subset_ranks[order, block] = within.cpu().numpy()
        if self._rankings is not None:
            _record_rankings(self._rankings, (order, block), allowed, best, members)

    def ranks(self) -> CategoryRanks:
        """All that was taken down."""
        indices = self._indices
        return CategoryRanks(
            task=indices.task,
            texts=indices.texts,
            images=self._images,
            ranks=self._ranks,
            subsets=SubsetRanks(self._subset_ranks, indices.subset_sizes, indices.subset_expected)
            if indices.has_subsets
            else None,
            rankings=self._rankings,
        )


def _record_rankings(
    rankings: Rankings,
    block: tuple[int, slice],
    allowed: Float[Tensor, "block gallery"],
    best: Int[Tensor, " block"],
    members: Int[Tensor, "block members"],
) -> None:
    """Takes down which images stand first; `block` is the order of captions and the queries."""
    nearest = nearest_columns(allowed, rankings.nearest.shape[2])
    columns = torch.cat((nearest, best[:, None].clamp(min=0)), dim=1)
    similarities = allowed.gather(1, columns)
    distances = (1 - similarities).masked_fill(similarities == -torch.inf, torch.nan)
    of_nearest, of_best = distances[:, :-1], distances[:, -1]
    rankings.nearest[block] = nearest.masked_fill(of_nearest.isnan(), NO_ROW).cpu().numpy()
    rankings.distances[block] = of_nearest.cpu().numpy()
    rankings.best_targets[block] = best.cpu().numpy()
    rankings.best_distances[block] = of_best.masked_fill(best == NO_ROW, torch.nan).cpu().numpy()
    rankings.subsets[block] = members.cpu().numpy()


def _of_category(tasks: Sequence[RankingTask], name: str) -> RankingTask | None:
    return next((task for task in tasks if task.category == name), None)


def _images(
    queries: Sequence[Query],
    tasks: Sequence[RankingTask],
    gallery: Sequence[str],
    embeddings: Embeddings,
) -> tuple[str, ...]:
    """The category's gallery, and the images that tasks and subsets name beside it."""
    named = {i for task in tasks for i in task.gallery}
    named |= {i for query in queries for i in query.subset_ids}
    beside = named.difference(gallery, embeddings.skipped)
    return (*dict.fromkeys(gallery), *sorted(beside))


def _task_indices(
    task: RankingTask,
    protocol: Protocol,
    queries: Sequence[Query],
    images: Sequence[str],
    device: torch.device,
) -> _TaskIndices:
    """Finds a task's queries and images among those of the category."""
    row_of = {query.id: row for row, query in enumerate(queries)}
    column_of = {image_id: column for column, image_id in enumerate(images)}
    columns = np.array([column_of[i] for i in task.gallery], dtype=np.int64)
    in_gallery = np.isin(np.arange(len(images)), columns)
    named = [_subset(query) for query in task.queries]
    members = [sorted(column_of[i] for i in ids if i in column_of) for ids in named]
    excluded = np.where(task.excluded == NO_ROW, NO_ROW, columns[task.excluded])
    return _TaskIndices(
        task=task,
        texts=tuple(tuple(texts) for texts in texts_by_order(task.queries, protocol.captions)),
        query_rows=np.array([row_of[query.id] for query in task.queries], dtype=np.int64),
        targets=padded([columns[rows] for rows in task.targets]).to(device),
        excluded=torch.from_numpy(excluded).to(device),
        in_gallery=None if in_gallery.all() else torch.from_numpy(in_gallery).to(device),
        members=padded([np.array(some, dtype=np.int64) for some in members]).to(device),
        subset_sizes=np.array([len(some) for some in members], dtype=np.int64),
        subset_expected=np.array([len(ids) for ids in named], dtype=np.int64),
    )


def _subset(query: Query) -> set[str]:
    """The images of a query's subset, its targets among them; none where it has no subset."""
    return {*query.subset_ids, *query.target_ids} if query.subset_ids else set()


def _ranks_within(
    members: Int[Tensor, "block members"], targets: Int[Tensor, "block most"]
) -> Int[Tensor, " block"]:
    """The rank of the first target among the ordered members; 0 where there is none."""
    hits = ((members[:, :, None] == targets[:, None, :]) & (members != NO_ROW)[:, :, None]).any(
        dim=2
    )
    first = 1 + hits.to(torch.int64).argmax(dim=1)
    return first.masked_fill(~hits.any(dim=1), 0)


def _empty_rankings(shape: tuple[int, int], listed: int, members: int) -> Rankings:
    """Rankings of (orders, queries) in which nothing is taken down yet."""
    return Rankings(
        nearest=np.full((*shape, listed), NO_ROW, dtype=np.int64),
        distances=np.full((*shape, listed), np.nan, dtype=np.float32),
        best_targets=np.full(shape, NO_ROW, dtype=np.int64),
        best_distances=np.full(shape, np.nan, dtype=np.float32),
        subsets=np.full((*shape, members), NO_ROW, dtype=np.int64),
    )
