"""What a strategy means: draws from bands, their quotas, and which candidates are eligible.

To add a strategy, name its band in `_BANDS`, or its draws in `draws_of`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Int64

from cir import arguments
from cir.types import SCOPES, Band, Sampling, Scope, Strategy

Fill = Literal["nearest", "random"] | None
"""What fills up a starved query; None leaves it short."""

FILLS: Final[tuple[Fill, ...]] = (None, "nearest", "random")
SAMPLINGS: Final[tuple[Sampling, ...]] = get_args(Sampling)

_BANDS: Final[Mapping[Strategy, Band]] = {
    "random": "any",
    "hard": "hard",
    "semi-hard": "semi-hard",
    "adaptive": "adaptive",
}
"""The band of each strategy that draws from the whole gallery."""

_LARGEST_SEED: Final = 2**63 - 1
_GOLDEN: Final = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Draw:
    """A share of each query's negatives, from one scope and one band."""

    scope: Scope
    share: float
    band: Band

    def __post_init__(self) -> None:
        arguments.choice("scope", self.scope, SCOPES)
        arguments.real("share", self.share, 0, 1)
        arguments.choice("band", self.band, get_args(Band))


@dataclass(frozen=True)
class Plan:
    """Which negatives a query gets.

    With s = 1 − d, a valid candidate c of a query q with target t is eligible when it passes each
    of the filters that are given; no other is ever drawn, nor used to fill up.
    """

    draws: tuple[Draw, ...]
    """Served in this order; no candidate is drawn twice. Their shares add up to 1."""
    num_negatives: int
    margin: float
    sampling: Sampling = "top"
    """Whether a band gives its nearest members, a uniform sample, or a sample without replacement
    with weights exp(−d / temperature). Under `top`, too, the band `any` gives a uniform sample: its
    nearest members would all be hard ones."""
    temperature: float = 0.05
    """Of softmax sampling, in cosine distance."""
    fill: Fill = "nearest"
    """How a starved query is filled up: from outside the band, first within the scope of the draw
    that fell short, then in the whole gallery; None leaves it short."""
    seed: int = 0
    relative_margin: float | None = None
    """Filter: s(q, c) ≤ s(q, t) − relative_margin |s(q, t)|. The right side is computed in float32
    as (1 − relative_margin) s(q, t), with a plus where s(q, t) is negative."""
    max_similarity: float | None = None
    """Filter: s(q, c) ≤ max_similarity, in float32."""
    range_min: int = 0
    """Filter: at least this many valid candidates come before c by (distance, gallery row)."""
    range_max: int | None = None
    """Filter: fewer than this many valid candidates come before c."""
    drop_window: int = 100
    """How many valid candidates farther than the target the band `adaptive` looks at for drops."""

    def __post_init__(self) -> None:
        draws = isinstance(self.draws, tuple) and all(isinstance(d, Draw) for d in self.draws)
        arguments.require("draws", self.draws, "a tuple of `Draw`s", holds=draws)
        total = sum(draw.share for draw in self.draws)
        shares = f"draws whose shares add up to 1, not {total:g}"
        arguments.require("draws", self.draws, shares, holds=math.isclose(total, 1, abs_tol=1e-6))
        arguments.integer("num_negatives", self.num_negatives, 1)
        arguments.real("margin", self.margin, 0, 2)
        arguments.choice("sampling", self.sampling, SAMPLINGS)
        arguments.positive("temperature", self.temperature)
        arguments.choice("fill", self.fill, FILLS)
        arguments.integer("seed", self.seed, 0, _LARGEST_SEED)
        arguments.integer("drop_window", self.drop_window, 3)
        self._require_filters()

    def _require_filters(self) -> None:
        if self.relative_margin is not None:
            arguments.real("relative_margin", self.relative_margin, 0, 1)
        if self.max_similarity is not None:
            arguments.real("max_similarity", self.max_similarity, -1, 1)
        arguments.integer("range_min", self.range_min, 0)
        if self.range_max is not None:
            arguments.integer("range_max", self.range_max, self.range_min + 1)

    @property
    def shared(self) -> tuple[Draw, ...]:
        """The draws that have a share; bands of the others only count as `candidates_in_band`."""
        return tuple(draw for draw in self.draws if draw.share > 0)

    @property
    def by_category(self) -> bool:
        """Whether any draw depends on the query's category."""
        return any(draw.scope != "any" for draw in self.draws)

    @property
    def adaptive(self) -> bool:
        """Whether any draw is from the band between the steepest drops."""
        return any(draw.band == "adaptive" for draw in self.draws)

    @property
    def windowed(self) -> bool:
        """Whether ranks decide which candidates are eligible."""
        return self.range_min > 0 or self.range_max is not None

    def quota(self, queries: Int64[np.ndarray, " queries"]) -> Int64[np.ndarray, "queries draws"]:
        """How many negatives each draw gives each query: whole numbers that add up exactly.

        Systematic sampling (Madow, 1949): the cumulated shares of `num_negatives` are shifted by an
        offset in [0, 1) and rounded down. The offsets of successive queries are multiples of the
        golden ratio, which spread so evenly that the shares hold over any run of queries. The last
        draw that has a share takes what the sum of the shares lacks of 1, or gives what it exceeds.
        """
        offsets = np.modf(queries * _GOLDEN + np.random.default_rng(self.seed).random())[0]
        shares = np.minimum(np.cumsum([0.0, *(draw.share for draw in self.draws)]), 1)
        shares[shares == shares[-1]] = 1
        bounds = shares * self.num_negatives
        return np.diff(np.floor(bounds + offsets[:, None]).astype(np.int64), axis=1)


def draws_of(strategy: Strategy, shares: Sequence[Draw]) -> tuple[Draw, ...]:
    """The draws that a strategy means.

    Args:
        strategy: Which candidates are to be negatives.
        shares: The draws of `category-aware`, in the order they are served; those whose share is 0
            are left out, so that their bands are not counted.
    """
    if strategy == "category-aware":
        return tuple(draw for draw in shares if draw.share > 0)
    return (Draw("any", 1.0, _BANDS[strategy]),)
