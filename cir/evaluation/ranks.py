"""Where targets stand: what an evaluator measures, and figures, tests and files are made from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from cir.evaluation.protocol import Protocol, RankingTask
from cir.types import NO_ROW


@dataclass(frozen=True, eq=False)
class Rankings:
    """Which images each query retrieved first; columns number the images of its `CategoryRanks`."""

    nearest: Int64[np.ndarray, "orders queries listed"]
    """The nearest images, in order; `NO_ROW` where the gallery has no more."""
    distances: Float32[np.ndarray, "orders queries listed"]
    """Their cosine distances to the query; NaN where the gallery has no more."""
    best_targets: Int64[np.ndarray, "orders queries"]
    """The target that stands first; `NO_ROW` where a query has none."""
    best_distances: Float32[np.ndarray, "orders queries"]
    """The cosine distance of that target to the query; NaN where there is none."""
    subsets: Int64[np.ndarray, "orders queries members"]
    """The images of each query's subset, in order; padded at the end with `NO_ROW`."""


@dataclass(frozen=True, eq=False)
class SubsetRanks:
    """Ranks among the few images of each query's subset; the reference is never one of them."""

    ranks: Int64[np.ndarray, "orders queries"]
    """Of the best target; 1 is first. 0 where a query has no target."""
    sizes: Int64[np.ndarray, " queries"]
    """Images of each subset that have a vector."""
    expected: Int64[np.ndarray, " queries"]
    """Images that the dataset names; more than `sizes` where embedding skipped some."""


@dataclass(frozen=True, eq=False)
class CategoryRanks:
    """One category's ranks under one protocol."""

    task: RankingTask
    texts: tuple[tuple[str, ...], ...]
    """The text of each query, once for each order of captions."""
    images: tuple[str, ...]
    """Image ids by column."""
    ranks: Int64[np.ndarray, "orders queries"]
    """Of each query's best target; 1 is first. 0 where a query has no target."""
    subsets: SubsetRanks | None
    """None where the dataset has no subsets."""
    rankings: Rankings | None
    """None where the evaluator was asked to list no images."""

    def listed(self) -> Rankings:
        """The rankings; raises ValueError where the evaluator was asked to list no images."""
        if self.rankings is None:
            raise ValueError("these ranks were judged with `listed=0`; pass how many to list")
        return self.rankings

    def image_ids(self, columns: Iterable[int]) -> list[str]:
        """The ids of some columns, without the padding."""
        return [self.images[column] for column in columns if column != NO_ROW]


@dataclass(frozen=True, eq=False)
class Ranks:
    """All categories under one protocol."""

    protocol: Protocol
    categories: tuple[CategoryRanks, ...]
    dropped: int
    """Queries left out because embedding skipped their reference or every target."""

    @property
    def title(self) -> str:
        """What is ranked against what, in words."""
        return self.protocol.of_queries(q for c in self.categories for q in c.task.queries)
