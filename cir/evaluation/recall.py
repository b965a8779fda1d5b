"""Recall@K under a stated protocol.

Recall@K of a category is the share of its queries, in percent, whose first K retrieved images hold
a target. The mean is over categories, each counted alike, and the headline is the mean of the mean
R@10 and the mean R@50, by which the FashionIQ challenge ranks entries (Wu et al., CVPR 2021).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from cir.artefacts.store import Embeddings
from cir.config import GalleryName
from cir.data.dataset import Query
from cir.evaluation.protocol import Protocol, RankingTask, ranking_tasks, texts_by_order
from cir.evaluation.ranking import compose_task
from cir.evaluation.retrieval import NONE
from cir.progress import SILENT, Progress

__all__ = [
    "CUTOFFS",
    "CategoryRecall",
    "Evaluation",
    "Protocol",
    "chance",
    "evaluate",
    "headline",
]

CUTOFFS: Final = (1, 5, 10, 50)
"""The K of every reported Recall@K."""

HEADLINE_CUTOFFS: Final = (10, 50)
"""The K whose mean recalls are averaged into the headline."""

PUBLISHED_GALLERIES: Final[Mapping[GalleryName, Mapping[str, int]]] = {
    "full": {"dress": 3817, "shirt": 6346, "toptee": 5373},
    "val": {"dress": 2628, "shirt": 3089, "toptee": 2902},
}
"""Images of FashionIQ's val galleries, which published figures refer to."""


@dataclass(frozen=True)
class CategoryRecall:
    """One category's recalls, in percent by K."""

    category: str
    queries: int
    gallery_size: int
    gallery_expected: int
    """Images that the dataset names; more than `gallery_size` where embedding skipped some."""
    recall: dict[int, float]
    chance: dict[int, float]
    """What a ranking drawn at random would have on average."""


@dataclass(frozen=True)
class Evaluation:
    """Recalls of one way to compose queries, under one protocol."""

    protocol: Protocol
    query: str
    categories: tuple[CategoryRecall, ...]
    dropped: int
    """Queries left out because embedding skipped their reference or every target."""

    @property
    def queries(self) -> int:
        """Queries of all categories."""
        return sum(c.queries for c in self.categories)

    @property
    def mean(self) -> dict[int, float]:
        """Recall by K, averaged over categories."""
        return {k: float(np.mean([c.recall[k] for c in self.categories])) for k in CUTOFFS}

    @property
    def chance(self) -> dict[int, float]:
        """Chance level by K, averaged over categories."""
        return {k: float(np.mean([c.chance[k] for c in self.categories])) for k in CUTOFFS}

    @property
    def headline(self) -> float:
        """Mean of the mean R@10 and the mean R@50."""
        return headline(self.mean)

    def figures(self) -> dict[str, float]:
        """The means and the headline under the names of `metrics.jsonl`: R@1 ... headline."""
        return {**{f"R@{k}": value for k, value in self.mean.items()}, "headline": self.headline}

    def notes(self) -> tuple[str, ...]:
        """What a reader must know before comparing these figures with others."""
        return tuple(_notes(self))

    def to_json(self) -> dict[str, Any]:
        """Protocol and figures as JSON values."""
        return {
            "query": self.query,
            "protocol": asdict(self.protocol),
            "categories": {c.category: _category_json(c) for c in self.categories},
            "mean": _named(self.mean),
            "headline": self.headline,
            "chance": {**_named(self.chance), "headline": headline(self.chance)},
            "queries": self.queries,
            "dropped": self.dropped,
            "notes": list(self.notes()),
        }


def headline(mean: Mapping[int, float]) -> float:
    """Mean of the mean R@10 and the mean R@50."""
    return float(np.mean([mean[k] for k in HEADLINE_CUTOFFS]))


def evaluate(
    queries: Sequence[Query],
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    combiner: nn.Module,
    protocol: Protocol,
    *,
    query: str,
    device: torch.device,
    progress: Progress = SILENT,
) -> Evaluation:
    """Ranks each query's own category and counts the hits.

    Args:
        queries: Queries of one split, each with at least one target.
        galleries: Image ids of the split by category.
        embeddings: Vectors of every image and caption, by the encoder the combiner was made for.
        combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
        protocol: What the figures shall mean.
        query: Name of the composition, for the record.
        device: Where vectors are composed and compared.
        progress: Shows queries per second.

    Raises:
        UsageError: the queries have no targets, as those of a test split.
        DatasetError: a target is in no gallery, or no query is left.
    """
    tasks = ranking_tasks(queries, galleries, embeddings, protocol)
    kept = sum(len(task.queries) for task in tasks)
    found = []
    with progress.task("rank", kept, "queries") as shown:
        for task in tasks:
            found.append(_judge(task, embeddings, combiner, protocol, device))
            shown.advance(len(task.queries))
    return Evaluation(protocol, query, tuple(found), len(queries) - kept)


def chance(gallery: int, targets: int, cutoff: int) -> float:
    """Probability that a uniformly random ranking has a target among its first `cutoff`.

    1 − C(N − T, K) / C(N, K), the hypergeometric chance of at least one hit, for N images of which
    T are targets; written as a product, which no large binomial overflows.
    """
    drawn = np.arange(min(cutoff, gallery))
    misses = np.clip((gallery - targets - drawn) / (gallery - drawn), 0, None)
    return float(1 - misses.prod())


def _judge(
    task: RankingTask,
    embeddings: Embeddings,
    combiner: nn.Module,
    protocol: Protocol,
    device: torch.device,
) -> CategoryRecall:
    """Recalls of one category, averaged over the orders of captions."""
    orders = [
        _recalls(compose_task(task, texts, embeddings, combiner, device).ranks())
        for texts in texts_by_order(task.queries, protocol.captions)
    ]
    return CategoryRecall(
        category=task.category,
        queries=len(task.queries),
        gallery_size=len(task.gallery),
        gallery_expected=task.gallery_expected,
        recall={k: float(np.mean([recall[k] for recall in orders])) for k in CUTOFFS},
        chance={k: _mean_chance(task, k) for k in CUTOFFS},
    )


def _recalls(ranks: Int[np.ndarray, " queries"]) -> dict[int, float]:
    return {k: 100 * float(np.mean(ranks <= k)) for k in CUTOFFS}


def _mean_chance(task: RankingTask, cutoff: int) -> float:
    """Chance level in percent, averaged over the queries."""
    sizes = len(task.gallery) - (task.removed != NONE)
    shares = [
        chance(int(size), len(rows), cutoff) for size, rows in zip(sizes, task.targets, strict=True)
    ]
    return 100 * float(np.mean(shares))


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.dropped:
        yield (
            f"{evaluation.dropped:,} queries were left out: embedding skipped their reference "
            f"or every target"
        )
    for found in evaluation.categories:
        if found.gallery_size != found.gallery_expected:
            yield (
                f"{found.category}: the gallery holds {found.gallery_size:,} of the "
                f"{found.gallery_expected:,} images expected; embedding skipped the rest"
            )
    yield from _published(evaluation)


def _published(evaluation: Evaluation) -> Iterator[str]:
    """Whether the galleries are those that FashionIQ's published figures refer to."""
    sizes = PUBLISHED_GALLERIES[evaluation.protocol.gallery]
    found = {c.category: c.gallery_size for c in evaluation.categories}
    if evaluation.protocol.split == "val" and set(found) == set(sizes) and found != dict(sizes):
        expected = ", ".join(f"{size:,} {category}" for category, size in sizes.items())
        yield f"not comparable with published FashionIQ figures: their galleries are {expected}"


def _named(recall: Mapping[int, float]) -> dict[str, float]:
    return {f"R@{k}": value for k, value in recall.items()}


def _category_json(found: CategoryRecall) -> dict[str, Any]:
    return {
        "queries": found.queries,
        "gallery_size": found.gallery_size,
        "gallery_expected": found.gallery_expected,
        "recall": _named(found.recall),
        "chance": _named(found.chance),
    }
