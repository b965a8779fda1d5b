"""The band `adaptive`: the candidates between the two steepest drops of a query's scores.

QuRe (Kwak, Inhar, Yun and Lee, Query-Relevant Retrieval through Hard Negative Sampling in Composed
Image Retrieval, ICML 2025, arXiv 2507.12416, and its published code): images that the query scores
below its target are put in order; what comes before the first steep drop probably answers the query
too, what comes behind the second is easy, and the negatives lie between. As scores are s = 1 − d, a
drop of the score is a step of the distance. Here, exactly:

- The candidates looked at are the first `drop_window` valid ones farther than the target, by
  (distance, gallery row): c_1, c_2, ..., whatever the filters of a plan exclude. QuRe looks at the
  whole gallery, where the steepest drops are often those of the last few, the farthest of all.
- The k-th drop is d(q, c_k+1) − d(q, c_k) in float32. The two largest are taken; of equal ones,
  those that come first.
- With drops i < j the band is c_i+1, ..., c_j. A query with fewer than two drops, so that it has
  fewer than three candidates, has all of them in its band.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cir.mining.bands import Interval, Keys, keys_at
from cir.types import NO_ROW


def between_steepest_drops(
    distances: Float32[np.ndarray, "queries window"],
    rows: Int64[np.ndarray, "queries window"],
    beyond: Keys,
) -> Interval:
    """The band of each query, as the first key in it and the first behind it.

    Args:
        distances: Of the candidates looked at, nearest first.
        rows: Their gallery rows; `NO_ROW` behind the last candidate of a query.
        beyond: Keys behind every candidate that is as near as the target.
    """
    infinity = np.full(len(rows), np.inf, dtype=np.float32)
    if rows.shape[1] < 3:
        return beyond, keys_at(infinity)
    there = rows != NO_ROW
    steps = np.diff(np.where(there, distances, np.float32(0)), axis=1)
    falling = np.argsort(-np.where(there[:, 1:], steps, -np.inf), axis=1, kind="stable")
    steepest = np.sort(falling[:, :2], axis=1)
    start, end = (_keys(distances, rows, after) for after in (steepest + 1).T)
    three = there[:, 2]
    return _where(three, start, beyond), _where(three, end, keys_at(infinity))


def _keys(
    distances: Float32[np.ndarray, "queries window"],
    rows: Int64[np.ndarray, "queries window"],
    places: Int64[np.ndarray, " queries"],
) -> Keys:
    """The keys of each query's candidate at a place from 0 on."""
    at = np.arange(len(rows)), places
    return Keys(distances[at], rows[at])


def _where(holds: Bool[np.ndarray, " queries"], one: Keys, other: Keys) -> Keys:
    """The first keys where something holds, and the others elsewhere."""
    return Keys(*(np.where(holds, a, b) for a, b in zip(one, other, strict=True)))
