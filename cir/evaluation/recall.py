"""Recall@K under a stated protocol.

Recall@K of a category is the share of its queries, in percent, whose first K retrieved images hold
a target. The mean is over categories, each counted alike, and the headline is the mean of the mean
R@10 and the mean R@50, by which the FashionIQ challenge ranks entries (Wu et al., CVPR 2021).

Where queries have subsets, as CIRR's, Rs@K counts the first K of the subset alone, and the headline
is the mean of R@5 and Rs@1, by which CIRR's methods are compared (Liu et al., ICCV 2021).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import nn

from cir.artefacts.store import Embeddings
from cir.config import GalleryName
from cir.data.queries import Query
from cir.errors import UsageError
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.ranks import CategoryRanks, Ranks
from cir.progress import SILENT, Progress

CUTOFFS: Final = (1, 5, 10, 50)
"""The K of every reported Recall@K."""

SUBSET_CUTOFFS: Final = (1, 2, 3)
"""The K of the recall within a subset."""

HEADLINE_CUTOFFS: Final = (10, 50)
"""The K whose mean recalls are averaged into the headline."""

SUBSET_HEADLINE: Final = ("R@5", "Rs@1")
"""What is averaged into the headline where queries have subsets."""

PUBLISHED_GALLERIES: Final[Mapping[GalleryName, Mapping[str, int]]] = {
    "full": {"dress": 3817, "shirt": 6346, "toptee": 5373},
    "val": {"dress": 2628, "shirt": 3089, "toptee": 2902},
}
"""Images of FashionIQ's val galleries, which published figures refer to; nobody published `all`."""


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
    subset_recall: dict[int, float] = field(default_factory=dict)
    """Recall within the subsets; empty where there are none."""
    subset_chance: dict[int, float] = field(default_factory=dict)
    subsets_short: int = 0
    """Queries of whose subset embedding skipped an image."""

    def figures(self) -> dict[str, float]:
        """Every recall and the headline by name: R@1 ... Rs@1 ... headline."""
        return _with_headline(self.recall, self.subset_recall)


@dataclass(frozen=True)
class Evaluation:
    """Recalls of one way to compose queries, under one protocol."""

    protocol: Protocol
    query: str
    categories: tuple[CategoryRecall, ...]
    dropped: int
    """Queries left out because embedding skipped their reference or every target."""
    title: str = ""
    """The protocol in words, as far as it means something for these queries."""

    @property
    def queries(self) -> int:
        """Queries of all categories."""
        return sum(c.queries for c in self.categories)

    @property
    def mean(self) -> dict[int, float]:
        """Recall by K, averaged over categories."""
        return _mean([c.recall for c in self.categories])

    @property
    def subset_mean(self) -> dict[int, float]:
        """Recall within subsets by K, averaged over categories; empty where there are none."""
        return _mean([c.subset_recall for c in self.categories])

    @property
    def chance(self) -> dict[int, float]:
        """Chance level by K, averaged over categories."""
        return _mean([c.chance for c in self.categories])

    @property
    def headline(self) -> float:
        """Mean of the mean R@10 and the mean R@50; of R@5 and Rs@1 where there are subsets."""
        return self.figures()["headline"]

    def figures(self) -> dict[str, float]:
        """The means and the headline under the names of `metrics.jsonl`: R@1 ... headline."""
        return _with_headline(self.mean, self.subset_mean)

    def chance_figures(self) -> dict[str, float]:
        """As `figures`, of rankings drawn at random."""
        return _with_headline(self.chance, _mean([c.subset_chance for c in self.categories]))

    def notes(self) -> tuple[str, ...]:
        """What a reader must know before comparing these figures with others."""
        return tuple(_notes(self))

    def to_json(self) -> dict[str, Any]:
        """Protocol and figures as JSON values."""
        mean = self.figures()
        return {
            "query": self.query,
            "protocol": asdict(self.protocol),
            "categories": {c.category: _category_json(c) for c in self.categories},
            "mean": {name: value for name, value in mean.items() if name != "headline"},
            "headline": mean["headline"],
            "chance": self.chance_figures(),
            "queries": self.queries,
            "dropped": self.dropped,
            "notes": list(self.notes()),
        }


def headline_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Which of the measures called `names` are averaged into the headline."""
    if set(SUBSET_HEADLINE) <= set(names):
        return SUBSET_HEADLINE
    return tuple(f"R@{k}" for k in HEADLINE_CUTOFFS)


def evaluate(
    queries: Iterable[Query],
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    combiner: nn.Module,
    protocol: Protocol,
    *,
    query: str,
    device: torch.device | str,
    every_image: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Evaluation:
    """Ranks each query's own category and counts the hits.

    To judge the same queries more than once, keep a `cir.evaluation.evaluator.Evaluator`.

    Args:
        queries: Queries of one split, each with at least one target.
        galleries: Image ids of the split by category.
        embeddings: Vectors of every image and caption, by the encoder the combiner was made for.
        combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
        protocol: What the figures shall mean.
        query: Name of the composition, for the record.
        device: Where vectors are composed and compared.
        every_image: The image ids of the whole dataset, where the protocol's gallery is `all`.
        progress: Shows queries per second.

    Raises:
        UsageError: the queries have no targets, as those of a test split; or the gallery is `all`
            and `every_image` is empty.
        DatasetError: a target is in no gallery, or no query is left.
        StoreError: an image or a text has no vector.
        VectorError: a vector has no direction.
    """
    evaluator = Evaluator(
        queries, galleries, embeddings, [protocol], device=device, every_image=every_image
    )
    return recalls(evaluator.judge(embeddings, combiner, progress=progress)[0], query)


def recalls(ranks: Ranks, query: str) -> Evaluation:
    """The recalls that ranks amount to.

    Args:
        ranks: Of queries that have targets.
        query: Name of the composition, for the record.

    Raises:
        UsageError: a query has no target: its rank would count as a hit.
    """
    if any((category.ranks == 0).any() for category in ranks.categories):
        raise UsageError(
            f"some queries of split {ranks.protocol.split} have no target; recall needs one each"
        )
    categories = tuple(_category(category) for category in ranks.categories)
    return Evaluation(ranks.protocol, query, categories, ranks.dropped, ranks.title)


def chance(gallery: int, targets: int, cutoff: int) -> float:
    """Probability that a uniformly random ranking has a target among its first `cutoff`.

    1 − C(N − T, K) / C(N, K), the hypergeometric chance of at least one hit, for N images of which
    T are targets; written as a product, which no large binomial overflows.

    Args:
        gallery: N, the images ranked.
        targets: T, the targets among them.
        cutoff: K, the images that are looked at.

    Raises:
        UsageError: there are more targets than images, or a number is below 0.
    """
    if not 0 <= targets <= gallery or cutoff < 0:
        raise UsageError(
            f"`gallery` is {gallery}, `targets` {targets}, `cutoff` {cutoff}; expected at least 0 "
            f"each, and no more targets than images"
        )
    drawn = np.arange(min(cutoff, gallery))
    misses = np.clip((gallery - targets - drawn) / (gallery - drawn), 0, None)
    return float(1 - misses.prod())


def _category(ranks: CategoryRanks) -> CategoryRecall:
    """Recalls of one category, over all queries and orders of captions."""
    task, subsets = ranks.task, ranks.subsets
    targets = np.array([len(rows) for rows in task.targets])
    return CategoryRecall(
        category=task.category,
        queries=len(task.queries),
        gallery_size=len(task.gallery),
        gallery_expected=task.gallery_expected,
        recall=_recalls(ranks.ranks, CUTOFFS),
        chance=_chances(task.gallery_sizes, targets, CUTOFFS),
        subset_recall={} if subsets is None else _recalls(subsets.ranks, SUBSET_CUTOFFS),
        subset_chance={} if subsets is None else _chances(subsets.sizes, targets, SUBSET_CUTOFFS),
        subsets_short=0 if subsets is None else int((subsets.sizes < subsets.expected).sum()),
    )


def _recalls(
    ranks: Int64[np.ndarray, "orders queries"], cutoffs: Sequence[int]
) -> dict[int, float]:
    return {k: 100 * float(np.mean(ranks <= k)) for k in cutoffs}


def _chances(
    sizes: Int[np.ndarray, " queries"],
    targets: Int[np.ndarray, " queries"],
    cutoffs: Sequence[int],
) -> dict[int, float]:
    """Chance levels in percent, averaged over queries that rank `sizes` images each."""
    pairs, counts = np.unique(np.stack((sizes, targets)), axis=1, return_counts=True)
    return {
        k: 100 * float(np.average([chance(n, t, k) for n, t in pairs.T.tolist()], weights=counts))
        for k in cutoffs
    }


def _mean(recalls: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Averages by K; each of `recalls` has the same K."""
    return {k: float(np.mean([recall[k] for recall in recalls])) for k in recalls[0]}


def _with_headline(recall: Mapping[int, float], subset: Mapping[int, float]) -> dict[str, float]:
    """Recalls under their names, and the headline they make."""
    named = {f"R@{k}": value for k, value in recall.items()}
    named |= {f"Rs@{k}": value for k, value in subset.items()}
    parts = headline_measures(tuple(named))
    return {**named, "headline": float(np.mean([named[part] for part in parts]))}


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.dropped:
        yield (
            f"{evaluation.dropped:,} queries were left out: embedding skipped their reference "
            f"or every target"
        )
    for category in evaluation.categories:
        if category.gallery_size != category.gallery_expected:
            yield (
                f"{category.category}: the gallery holds {category.gallery_size:,} of the "
                f"{category.gallery_expected:,} images expected; embedding skipped the rest"
            )
        if category.subsets_short:
            yield (
                f"{category.category}: {category.subsets_short:,} queries have a smaller subset "
                f"than expected; embedding skipped the rest"
            )
    yield from _unlike_published(evaluation)


def _unlike_published(evaluation: Evaluation) -> Iterator[str]:
    """A note where galleries are FashionIQ's by name and not by size."""
    published = PUBLISHED_GALLERIES.get(evaluation.protocol.gallery, {})
    sizes = {c.category: c.gallery_size for c in evaluation.categories}
    same_names = evaluation.protocol.split == "val" and set(sizes) == set(published)
    if same_names and sizes != dict(published):
        expected = ", ".join(f"{size:,} {category}" for category, size in published.items())
        yield f"not comparable with published FashionIQ figures: their galleries are {expected}"


def _category_json(recall: CategoryRecall) -> dict[str, Any]:
    return {
        "queries": recall.queries,
        "gallery_size": recall.gallery_size,
        "gallery_expected": recall.gallery_expected,
        "recall": recall.figures(),
        "chance": _with_headline(recall.chance, recall.subset_chance),
    }
