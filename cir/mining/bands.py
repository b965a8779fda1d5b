"""Bands: which candidates are hard, semi-hard or easy for a query, over the whole gallery.

d is the distance of `cir.mining.similarity`, in float32, and so is d(q,t) + m. A matrix product
gives all distances of a block nearly; those so near to a border of a band that the product's
rounding could put them on the wrong side are computed again, pair by pair. Every band is therefore
what comparing each d would have given, bit for bit, whatever the block, the library or the number
of threads.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64

from cir.mining.similarity import paired_distances, product_error
from cir.types import KINDS, Band

EXCLUDED = np.float32(np.inf)
"""The distance that stands for a candidate which is not valid."""


@dataclass(frozen=True, eq=False)
class Borders:
    """Where the kinds meet, by query: d(q,t), and d(q,t) + m."""

    target: Float32[np.ndarray, " queries"]
    margin: Float32[np.ndarray, " queries"]

    @classmethod
    def around(cls, target: Float32[np.ndarray, " queries"], margin: float) -> "Borders":
        """The borders that the targets' distances and a margin make."""
        return cls(target, target + np.float32(margin))

    def take(self, queries: slice) -> "Borders":
        """The borders of some of the queries."""
        return Borders(self.target[queries], self.margin[queries])

    def kinds(
        self, queries: Int64[np.ndarray, " pairs"], distances: Float32[np.ndarray, " pairs"]
    ) -> Int8[np.ndarray, " pairs"]:
        """The kind of each (query, distance), as its position in `cir.types.KINDS`."""
        target, margin = self.target[queries], self.margin[queries]
        codes = np.full(len(queries), KINDS.index("easy"), dtype=np.int8)
        codes[distances < target] = KINDS.index("hard")
        codes[(distances > target) & (distances < margin)] = KINDS.index("semi-hard")
        return codes


@dataclass(frozen=True, eq=False)
class Bands:
    """One block of queries against the gallery."""

    nearly: Float32[np.ndarray, "queries gallery"]
    """d within `error`; `EXCLUDED` where a candidate is not valid."""
    error: float
    valid: Bool[np.ndarray, "queries gallery"]
    hard: Bool[np.ndarray, "queries gallery"]
    semi_hard: Bool[np.ndarray, "queries gallery"]

    def of(self, band: Band) -> Bool[np.ndarray, "queries gallery"]:
        """The valid candidates of one kind, or of any."""
        if band == "easy":
            easy: Bool[np.ndarray, "queries gallery"] = self.valid & ~(self.hard | self.semi_hard)
            return easy
        return {"hard": self.hard, "semi-hard": self.semi_hard, "any": self.valid}[band]


def find_bands(
    similarities: Float32[np.ndarray, "queries gallery"],
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    excluded: tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]],
    borders: Borders,
) -> Bands:
    """Tells the bands of a block of queries apart.

    Args:
        similarities: The float32 product of `queries` and `gallery`. It is overwritten.
        queries: Unit vectors.
        gallery: Unit vectors.
        excluded: (query, gallery row) of every candidate that is not valid.
        borders: Of these queries.
    """
    error = product_error(queries.shape[1])
    nearly = np.subtract(np.float32(1), similarities, out=similarities)
    nearly[excluded] = EXCLUDED
    valid = np.ones(nearly.shape, dtype=np.bool_)
    valid[excluded] = False
    near_target, near_margin = borders.target[:, None], borders.margin[:, None]
    hard, not_beyond_target = nearly < near_target - error, nearly <= near_target + error
    below_margin, not_beyond_margin = nearly < near_margin - error, nearly <= near_margin + error
    unsure = (hard ^ not_beyond_target) | (below_margin ^ not_beyond_margin)
    rows, columns = _where(unsure)
    exactly = paired_distances(queries, rows, gallery, columns)
    hard[rows, columns] = exactly < borders.target[rows]
    not_beyond_target[rows, columns] = exactly <= borders.target[rows]
    below_margin[rows, columns] = exactly < borders.margin[rows]
    return Bands(
        nearly=nearly,
        error=error,
        valid=valid,
        hard=hard,
        semi_hard=below_margin & ~not_beyond_target,
    )


def _where(
    mask: Bool[np.ndarray, "queries gallery"],
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """As np.nonzero, which is several times slower on two axes than on one."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, columns
