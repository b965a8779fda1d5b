"""What a scan has found so far, and how the findings of several are merged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64


class ScanResult(NamedTuple):
    """What was found so far."""

    keys: Float64[np.ndarray, "queries pools kept"]
    """Heaps with the greatest (key, row) first, of which `sizes` entries are filled."""
    rows: Int64[np.ndarray, "queries pools kept"]
    distances: Float32[np.ndarray, "queries pools kept"]
    sizes: Int64[np.ndarray, "queries pools"]
    nearer: Int64[np.ndarray, "queries borders two"]
    """Valid candidates before each border: all of them, and those of the query's category."""

    def block(self, queries: slice) -> "ScanResult":
        """A view of some of the queries."""
        return ScanResult(*(values[queries] for values in self))


def empty_result(queries: int, pools: int, kept: int, borders: int) -> ScanResult:
    """Where a scan starts."""
    shape = (queries, pools, kept)
    return ScanResult(
        keys=np.full(shape, np.inf),
        rows=np.full(shape, -1, dtype=np.int64),
        distances=np.full(shape, np.nan, dtype=np.float32),
        sizes=np.zeros(shape[:2], dtype=np.int64),
        nearer=np.zeros((queries, borders, 2), dtype=np.int64),
    )


def merged(parts: Sequence[ScanResult]) -> ScanResult:
    """What one scan would have found of all the galleries that `parts` found of one each.

    Pools are ordered by (key, row).
    """
    keys, rows, distances = (
        np.concatenate([part[field] for part in parts], axis=2) for field in range(3)
    )
    best = np.lexsort((rows, keys), axis=2)[:, :, : parts[0].keys.shape[2]]
    return ScanResult(
        keys=np.take_along_axis(keys, best, axis=2),
        rows=np.take_along_axis(rows, best, axis=2),
        distances=np.take_along_axis(distances, best, axis=2),
        sizes=np.minimum(np.sum([part.sizes for part in parts], axis=0), best.shape[2]),
        nearer=np.sum([part.nearer for part in parts], axis=0),
    )
