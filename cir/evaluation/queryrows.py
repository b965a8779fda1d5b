"""Ranks as columns, a row a query and order of captions: what anybody's own analysis starts from.

Recall@K of a category is the share of its rows with `rank` ≤ K, in percent.
"""

from collections.abc import Iterator
from typing import Any, Final

from cir.evaluation.ranks import CategoryRanks, Listing, Ranks
from cir.evaluation.retrieval import NONE

LISTED: Final = 50
"""Retrieved images of each row, the largest K that is reported."""


def query_rows(ranks: Ranks) -> dict[str, list[Any]]:
    """The columns of `cir.artefacts.query_ranks`; ranks must have been listed."""
    rows = [row for found in ranks.categories for row in _rows(found)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _rows(found: CategoryRanks) -> Iterator[dict[str, Any]]:
    listing = found.listed()
    for number, query in enumerate(found.task.queries):
        for order in range(len(found.texts)):
            yield {
                "query_id": query.id,
                "category": query.category,
                "reference_id": query.reference_id,
                "captions": list(query.captions),
                "text": found.texts[order][number],
                "target_ids": list(query.target_ids),
                "gallery_size": _gallery_size(found, number),
                "rank": int(found.ranks[order, number]),
                "subset_rank": None
                if found.subsets is None
                else int(found.subsets.ranks[order, number]),
                "subset_ids": None
                if found.subsets is None
                else _named(found, listing.subsets[order, number].tolist()),
                **_retrieved(found, listing, order, number),
            }


def _retrieved(found: CategoryRanks, listing: Listing, order: int, number: int) -> dict[str, Any]:
    """What stands first, and the best target."""
    columns = listing.first[order, number]
    return {
        "best_target_id": found.images[listing.best[order, number]],
        "target_distance": float(listing.best_distances[order, number]),
        "retrieved_ids": _named(found, columns.tolist()),
        "retrieved_distances": listing.distances[order, number][columns != NONE].tolist(),
    }


def _gallery_size(found: CategoryRanks, number: int) -> int:
    """Images that a query may retrieve."""
    return len(found.task.gallery) - int(found.task.removed[number] != NONE)


def _named(found: CategoryRanks, columns: list[int]) -> list[str]:
    return [found.images[column] for column in columns if column != NONE]
