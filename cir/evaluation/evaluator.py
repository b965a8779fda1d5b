"""One set of queries ranked again and again, under one protocol or several.

What does not change from one judgement to the next (which queries count, where targets stand in the
galleries, what captions are read as) is found once. A judgement composes every query once and
compares it with its category's images once, whatever the number of protocols: each of them reads
its ranks from the same similarities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.data.dataset import Query
from cir.evaluation.protocol import Protocol, RankingTask, ranking_tasks, texts_by_order
from cir.evaluation.ranks import CategoryRanks, Listing, Ranks, SubsetRanks
from cir.evaluation.retrieval import (
    NONE,
    best_targets,
    by_similarity,
    first_rows,
    padded,
    retrievable,
    similarity_blocks,
)
from cir.models.composition import compose
from cir.progress import SILENT, Progress, Task


class Evaluator:
    """Judges combiners by the same queries, galleries and protocols."""

    def __init__(
        self,
        queries: Sequence[Query],
        galleries: Mapping[str, Sequence[str]],
        embeddings: Embeddings,
        protocols: Sequence[Protocol],
        *,
        device: torch.device,
        judged: bool = True,
    ) -> None:
        """Looks up everything but vectors.

        Args:
            queries: Queries of one split.
            galleries: Image ids of the split by category.
            embeddings: What was embedded and what was skipped.
            protocols: At least one.
            device: Where vectors are composed and compared.
            judged: Whether each query must have a target; a test split's rankings are submitted
                without.

        Raises:
            UsageError: the queries have no targets, as those of a test split, and shall be judged.
            DatasetError: a category has no gallery, a target is in none, or no query is left.
        """
        self.protocols = tuple(protocols)
        self._asked = len(queries)
        tasks = [
            ranking_tasks(queries, galleries, embeddings, protocol, judged=judged)
            for protocol in self.protocols
        ]
        self._fields = [
            _Field(
                [query for query in queries if query.category == name],
                [_of_category(own, name) for own in tasks],
                self.protocols,
                [i for i in galleries.get(name, ()) if i not in embeddings.skipped],
                embeddings,
                device,
            )
            for name in sorted({task.category for own in tasks for task in own})
        ]

    def judge(
        self,
        embeddings: Embeddings,
        combiner: nn.Module,
        *,
        listed: int = 0,
        progress: Progress = SILENT,
    ) -> list[Ranks]:
        """The ranks under each protocol, in their order.

        Args:
            embeddings: Vectors of every image and caption, by the encoder the combiner was made
                for. Looked up again only where its tables are not those of the last call.
            combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
            listed: How many of the nearest images to list for each query; with 0, none are.
            progress: Shows queries per second.

        Raises:
            StoreError: an image or a text has no vector.
            VectorError: a vector has no direction.
        """
        total = sum(field.comparisons for field in self._fields)
        with progress.task("rank", total, "queries") as shown:
            found = [field.judge(embeddings, combiner, listed, shown) for field in self._fields]
        return [
            self._ranks(protocol, [own[number] for own in found])
            for number, protocol in enumerate(self.protocols)
        ]

    def _ranks(self, protocol: Protocol, found: Sequence[CategoryRanks | None]) -> Ranks:
        categories = tuple(ranks for ranks in found if ranks is not None)
        kept = sum(len(ranks.task.queries) for ranks in categories)
        return Ranks(protocol, categories, self._asked - kept)


class _Lookup:
    """Vectors by key, whose rows are found once for as long as the table is the same."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._table: VectorTable | None = None

    def changed(self, table: VectorTable) -> bool:
        """Whether `table` is another than the last; it is the last from now on."""
        if table is self._table:
            return False
        self._table, self._rows = table, table.rows(self._keys)
        return True

    def take(self, table: VectorTable) -> Float[np.ndarray, "keys dim"]:
        """The vectors, in the order of the keys."""
        self.changed(table)
        taken: Float[np.ndarray, "keys dim"] = table.vectors[self._rows]
        return taken


class _Field:
    """A category: the queries and images of all protocols together, each of them once."""

    def __init__(
        self,
        queries: Sequence[Query],
        tasks: Sequence[RankingTask | None],
        protocols: Sequence[Protocol],
        gallery: Sequence[str],
        embeddings: Embeddings,
        device: torch.device,
    ) -> None:
        given = [task for task in tasks if task is not None]
        kept = {query.id for task in given for query in task.queries}
        own = [query for query in queries if query.id in kept]
        self._name, self._device = given[0].category, device
        self._images = _images(own, given, gallery, embeddings)
        self._placed = [
            None if task is None else _place(task, protocol, own, self._images, device)
            for task, protocol in zip(tasks, protocols, strict=True)
        ]
        both = any(protocol.captions == "both-orders" for protocol in protocols)
        orders = texts_by_order(own, "both-orders" if both else "joined")
        self._texts = [_Lookup(texts) for texts in orders]
        self._references = _Lookup([query.reference_id for query in own])
        self._gallery = _Lookup(self._images)
        self.comparisons = len(own) * len(self._texts)
        """Queries that are compared with the images, once for each text."""

    def judge(
        self, embeddings: Embeddings, combiner: nn.Module, listed: int, shown: Task
    ) -> list[CategoryRanks | None]:
        """The ranks under each protocol; None where it leaves no query of the category."""
        gallery = self._vectors(embeddings)
        sheets = [None if p is None else _Sheet(p, self._images, listed) for p in self._placed]
        for order, texts in enumerate(self._texts):
            queries = self._composed(texts, embeddings, combiner)
            for rows, similarities in similarity_blocks(queries, gallery):
                for sheet in sheets:
                    if sheet is not None:
                        sheet.fill(order, rows.start, similarities)
                shown.advance(len(similarities))
        return [None if sheet is None else sheet.ranks() for sheet in sheets]

    def _vectors(self, embeddings: Embeddings) -> Float[Tensor, "gallery dim"]:
        """Unit vectors of the images."""
        if self._gallery.changed(embeddings.images):
            unit = normalised(self._gallery.take(embeddings.images), f"the {self._name} gallery")
            self._unit = torch.from_numpy(unit).to(self._device)
        return self._unit

    def _composed(
        self, texts: _Lookup, embeddings: Embeddings, combiner: nn.Module
    ) -> Float[Tensor, "queries dim"]:
        """The queries, their captions read as `texts`."""
        images = self._references.take(embeddings.images)
        words = texts.take(embeddings.captions)
        composed = compose(combiner, images, words, device=self._device)
        return torch.from_numpy(composed).to(self._device)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A protocol's task, its rows and columns those of the field."""

    task: RankingTask
    texts: tuple[tuple[str, ...], ...]
    rows: Int[np.ndarray, " queries"]
    """Ascending rows of the field's queries."""
    targets: Int[Tensor, "queries most"]
    removed: Int[Tensor, " queries"]
    inside: Bool[Tensor, " gallery"] | None
    """The images that may be retrieved; None where all may."""
    members: Int[Tensor, "queries members"]
    """Ascending columns of each subset, `NONE` at the end; no columns without subsets."""
    sizes: Int64[np.ndarray, " queries"]
    """Images of each subset."""
    expected: Int64[np.ndarray, " queries"]
    """Those that the dataset names."""

    @property
    def has_subsets(self) -> bool:
        """Whether recall within subsets is counted: every query has one."""
        return bool(self.expected.all())


class _Sheet:
    """The ranks of one task, written down block by block."""

    def __init__(self, placed: _Placed, images: tuple[str, ...], listed: int) -> None:
        self._placed, self._images, self._listed = placed, images, listed
        shape = (len(placed.texts), len(placed.rows))
        self._ranks = np.zeros(shape, dtype=np.int64)
        self._subset_ranks = np.zeros(shape, dtype=np.int64)
        self._listing = _empty_listing(shape, min(listed, len(images)), placed.members.shape[1])

    def fill(self, order: int, start: int, similarities: Float[Tensor, "block gallery"]) -> None:
        """Takes the ranks of consecutive queries of the field; `start` is the first's row."""
        placed = self._placed
        if order >= len(placed.texts):
            return
        within = np.searchsorted(placed.rows, (start, start + len(similarities)))
        own, rows = slice(*within), placed.rows[slice(*within)] - start
        if len(rows) < len(similarities):
            similarities = similarities[torch.from_numpy(rows).to(similarities.device)]
        allowed = retrievable(similarities, placed.removed[own], placed.inside)
        ranks, best = best_targets(allowed, placed.targets[own])
        self._ranks[order, own] = ranks.cpu().numpy()
        members = by_similarity(similarities, placed.members[own])
        if placed.has_subsets:
            self._subset_ranks[order, own] = _places(members, placed.targets[own]).cpu().numpy()
        if self._listed:
            self._list(order, own, allowed, best, members)

    def ranks(self) -> CategoryRanks:
        """All that was written down."""
        placed = self._placed
        return CategoryRanks(
            task=placed.task,
            texts=placed.texts,
            images=self._images,
            ranks=self._ranks,
            subsets=SubsetRanks(self._subset_ranks, placed.sizes, placed.expected)
            if placed.has_subsets
            else None,
            listing=self._listing if self._listed else None,
        )

    def _list(
        self,
        order: int,
        own: slice,
        allowed: Float[Tensor, "block gallery"],
        best: Int[Tensor, " block"],
        members: Int[Tensor, "block members"],
    ) -> None:
        """Writes down what stands first."""
        first = first_rows(allowed, self._listing.first.shape[2])
        columns = torch.cat((first, best[:, None].clamp(min=0)), dim=1)
        distances = (1 - allowed.gather(1, columns)).masked_fill(
            allowed.gather(1, columns) == -torch.inf, torch.nan
        )
        listing = self._listing
        listing.first[order, own] = first.masked_fill(distances[:, :-1].isnan(), NONE).cpu().numpy()
        listing.distances[order, own] = distances[:, :-1].cpu().numpy()
        listing.best[order, own] = best.cpu().numpy()
        listing.best_distances[order, own] = (
            distances[:, -1].masked_fill(best == NONE, torch.nan).cpu().numpy()
        )
        listing.subsets[order, own] = members.cpu().numpy()


def _of_category(tasks: Sequence[RankingTask], name: str) -> RankingTask | None:
    return next((task for task in tasks if task.category == name), None)


def _images(
    queries: Sequence[Query],
    tasks: Sequence[RankingTask],
    gallery: Sequence[str],
    embeddings: Embeddings,
) -> tuple[str, ...]:
    """The category's gallery, and what tasks and subsets name beside it."""
    named = {i for task in tasks for i in task.gallery}
    named |= {i for query in queries for i in query.subset_ids}
    beside = named.difference(gallery, embeddings.skipped)
    return (*dict.fromkeys(gallery), *sorted(beside))


def _place(
    task: RankingTask,
    protocol: Protocol,
    queries: Sequence[Query],
    images: Sequence[str],
    device: torch.device,
) -> _Placed:
    """Finds a task's queries and images among those of the field."""
    row_of = {query.id: row for row, query in enumerate(queries)}
    column_of = {image_id: column for column, image_id in enumerate(images)}
    columns = np.array([column_of[i] for i in task.gallery], dtype=np.int64)
    inside = np.isin(np.arange(len(images)), columns)
    members = [_members(query) for query in task.queries]
    there = [[column_of[i] for i in own if i in column_of] for own in members]
    removed = np.where(task.removed == NONE, NONE, columns[task.removed])
    return _Placed(
        task=task,
        texts=tuple(tuple(texts) for texts in texts_by_order(task.queries, protocol.captions)),
        rows=np.array([row_of[query.id] for query in task.queries], dtype=np.int64),
        targets=padded([columns[rows] for rows in task.targets]).to(device),
        removed=torch.from_numpy(removed).to(device),
        inside=None if inside.all() else torch.from_numpy(inside).to(device),
        members=padded([np.sort(np.array(own, dtype=np.int64)) for own in there]).to(device),
        sizes=np.array([len(own) for own in there], dtype=np.int64),
        expected=np.array([len(own) for own in members], dtype=np.int64),
    )


def _members(query: Query) -> set[str]:
    """The images of a query's subset, its targets among them; none where it has no subset."""
    return {*query.subset_ids, *query.target_ids} if query.subset_ids else set()


def _places(
    members: Int[Tensor, "block members"], targets: Int[Tensor, "block most"]
) -> Int[Tensor, " block"]:
    """The rank of the first target among the ordered members; 0 where there is none."""
    hits = ((members[:, :, None] == targets[:, None, :]) & (members != NONE)[:, :, None]).any(dim=2)
    first = 1 + hits.to(torch.int64).argmax(dim=1)
    return first.masked_fill(~hits.any(dim=1), 0)


def _empty_listing(shape: tuple[int, int], listed: int, members: int) -> Listing:
    return Listing(
        first=np.full((*shape, listed), NONE, dtype=np.int64),
        distances=np.full((*shape, listed), np.nan, dtype=np.float32),
        best=np.full(shape, NONE, dtype=np.int64),
        best_distances=np.full(shape, np.nan, dtype=np.float32),
        subsets=np.full((*shape, members), NONE, dtype=np.int64),
    )
