"""The nearest rows to a vector among unit vectors, exactly."""

import numpy as np
from jaxtyping import Bool, Float32, Int64


def nearest_rows(
    similarities: Float32[np.ndarray, " rows"],
    k: int,
    allowed: Bool[np.ndarray, " rows"],
) -> Int64[np.ndarray, " found"]:
    """The k allowed rows of highest similarity, the most similar first, equal ones by row.

    Args:
        similarities: Of every row with the query.
        k: At least 1; fewer rows come where fewer are allowed.
        allowed: Rows that may be found.
    """
    scored = np.where(allowed, similarities, -np.inf)
    count = min(k, int(np.count_nonzero(allowed)))
    if not count:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(scored, len(scored) - count)[len(scored) - count]
    # Every row that ties for the last place enters, so that ties fall by row.
    rows = np.flatnonzero(scored >= least)
    order = np.lexsort((rows, -scored[rows]))
    found: Int64[np.ndarray, " found"] = rows[order[:count]].astype(np.int64)
    return found
