"""Ranks as columns, one row per query and order of captions: where anybody's own analysis starts.

Recall@K of a category is the share of its rows with `rank` ≤ K, in percent.
"""

from collections.abc import Iterator
from typing import Any, Final

from cir.evaluation.ranks import CategoryRanks, Ranks
from cir.types import NO_ROW

LISTED: Final = 50
"""Retrieved images of each row, the largest K that is reported."""


def query_rows(ranks: Ranks) -> dict[str, list[Any]]:
    """The columns of `cir.artefacts.query_ranks`, by name.

    Args:
        ranks: Judged with `listed` above 0.

    Raises:
        ValueError: the evaluator was asked to list no images.
    """
    rows = [row for category in ranks.categories for row in _rows(category)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _rows(category: CategoryRanks) -> Iterator[dict[str, Any]]:
    for number, query in enumerate(category.task.queries):
        for order in range(len(category.texts)):
            yield {
                "query_id": query.id,
                "category": query.category,
                "reference_id": query.reference_id,
                "captions": list(query.captions),
                "text": category.texts[order][number],
                "target_ids": list(query.target_ids),
                "gallery_size": int(category.task.gallery_sizes[number]),
                "rank": int(category.ranks[order, number]),
                **_within_subset(category, order, number),
                **_retrieved(category, order, number),
            }


def _within_subset(category: CategoryRanks, order: int, number: int) -> dict[str, Any]:
    """The target's rank in the query's subset, and the subset in order; None without subsets."""
    if category.subsets is None:
        return {"subset_rank": None, "subset_ids": None}
    members = category.listed().subsets[order, number]
    return {
        "subset_rank": int(category.subsets.ranks[order, number]),
        "subset_ids": category.image_ids(members.tolist()),
    }


def _retrieved(category: CategoryRanks, order: int, number: int) -> dict[str, Any]:
    """The nearest images, and the best target."""
    rankings = category.listed()
    columns = rankings.nearest[order, number]
    return {
        "best_target_id": category.images[rankings.best_targets[order, number]],
        "target_distance": float(rankings.best_distances[order, number]),
        "retrieved_ids": category.image_ids(columns.tolist()),
        "retrieved_distances": rankings.distances[order, number][columns != NO_ROW].tolist(),
    }
