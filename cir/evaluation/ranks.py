"""Where targets stand: what an evaluator finds, and figures, tests and files are made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from cir.evaluation.protocol import Protocol, RankingTask


@dataclass(frozen=True, eq=False)
class Listing:
    """What each query retrieved first; columns number the images of its `CategoryRanks`."""

    first: Int64[np.ndarray, "orders queries listed"]
    """The nearest images, in order; `NONE` where the gallery has no more."""
    distances: Float32[np.ndarray, "orders queries listed"]
    """Their cosine distances to the query; NaN where the gallery has no more."""
    best: Int64[np.ndarray, "orders queries"]
    """The target that stands first; `NONE` where a query has none."""
    best_distances: Float32[np.ndarray, "orders queries"]
    """Its cosine distance to the query; NaN where there is none."""
    subsets: Int64[np.ndarray, "orders queries members"]
    """The images of each query's subset, in order; `NONE` at the end."""


@dataclass(frozen=True, eq=False)
class SubsetRanks:
    """Ranks among the few images of each query's subset, its reference never one of them."""

    ranks: Int64[np.ndarray, "orders queries"]
    """Of the best target; 1 is first. 0 where a query has no target."""
    sizes: Int64[np.ndarray, " queries"]
    """Images of each subset."""
    expected: Int64[np.ndarray, " queries"]
    """Those that the dataset names; more than `sizes` where embedding skipped some."""


@dataclass(frozen=True, eq=False)
class CategoryRanks:
    """One category's ranks under one protocol."""

    task: RankingTask
    texts: tuple[tuple[str, ...], ...]
    """What each query's captions are read as, once for each order of captions."""
    images: tuple[str, ...]
    """Image ids by column."""
    ranks: Int64[np.ndarray, "orders queries"]
    """Of each query's best target; 1 is first. 0 where a query has no target."""
    subsets: SubsetRanks | None
    """None where the dataset has no subsets."""
    listing: Listing | None
    """None where it was not asked for."""

    def listed(self) -> Listing:
        """What was retrieved; raises ValueError where it was not asked for."""
        if self.listing is None:
            raise ValueError("these ranks were judged without listing what was retrieved")
        return self.listing


@dataclass(frozen=True, eq=False)
class Ranks:
    """All categories under one protocol."""

    protocol: Protocol
    categories: tuple[CategoryRanks, ...]
    dropped: int
    """Queries left out because embedding skipped their reference or every target."""
