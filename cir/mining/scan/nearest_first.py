"""The scan of the nearest candidates of each query, and of the gallery where they leave doubt.

An exact index gives the rows of greatest product with a query, and that product. A product is off
by its rounding at most, so every other row is farther than the last of these, less that error: its
horizon. Whatever lies nearer was compared. A query is settled where its thresholds do, and the
pools that it needs are full of nearer candidates or take no others; all the rest are scanned.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from cir.mining.machine import Machine
from cir.mining.numerics.cosine import paired_cosines, product_error
from cir.mining.scan.candidate_lists import scan_listed
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult
from cir.mining.scan.sampling_keys import NEAREST
from cir.types import NO_ROW

Search = Callable[
    [Float32[np.ndarray, "queries dim"]],
    tuple[Float32[np.ndarray, "queries kept"], Int64[np.ndarray, "queries kept"]],
]
"""Gives the gallery rows of greatest product with each query, and the products, greatest first."""

Finish = Callable[[ScanRequest], ScanResult]
"""Scans the whole gallery."""


def scan_nearest_first(
    request: ScanRequest, search: Search, finish: Finish, machine: Machine, label: str
) -> ScanResult:
    """Scans a gallery for all queries.

    Args:
        request: The queries and the gallery, which is not empty.
        search: Gives the rows nearest to a block of queries.
        finish: Scans for the queries that these do not settle.
        machine: How the scan runs.
        label: The name of the scan in the progress, which shows queries per second.

    Returns:
        Counts and pools, the heap of each pool in no order.
    """
    nearest = _Nearest(request, search)
    result, _ = scan_listed(request, nearest, machine, label)
    doubtful = np.flatnonzero(~_settled(request, result, nearest.horizons()))
    if len(doubtful):
        for field, found in zip(result, finish(request.block(doubtful)), strict=True):
            field[doubtful] = found
    return result


class _Nearest:
    """Proposes the rows that a search finds, and keeps the horizon of each query."""

    def __init__(self, request: ScanRequest, search: Search) -> None:
        self._search, self._gallery = search, request.gallery
        self._error = product_error(request.gallery.shape[1])
        self._horizons = [np.zeros(0)]

    def __call__(
        self, queries: Float32[np.ndarray, "queries dim"]
    ) -> Int64[np.ndarray, "queries kept"]:
        products, rows = self._search(queries)
        self._horizons.append(self._beyond(queries, products, rows))
        return rows

    def horizons(self) -> Float64[np.ndarray, " queries"]:
        """The distance that all candidates which were not proposed exceed."""
        return np.concatenate(self._horizons)

    def _beyond(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        products: Float32[np.ndarray, "queries kept"],
        rows: Int64[np.ndarray, "queries kept"],
    ) -> Float64[np.ndarray, " queries"]:
        if rows.shape[1] == len(self._gallery) and (rows != NO_ROW).all():
            return np.full(len(queries), np.inf)
        last, product = rows[:, -1], products[:, -1].astype(np.float64)
        cosines = paired_cosines(queries, np.arange(len(queries)), self._gallery, last)
        # A search in less than float32 says nothing of what it left out.
        precise = (last != NO_ROW) & (np.abs(cosines - product) <= self._error)
        return np.asarray(np.where(precise, 1 - product - 2 * self._error, -np.inf))


def _settled(
    request: ScanRequest, result: ScanResult, horizons: Float64[np.ndarray, " queries"]
) -> Bool[np.ndarray, " queries"]:
    """The queries of which no candidate beyond the horizon can change anything."""
    pools, beyond = request.pools, horizons[:, None]
    full = result.sizes == request.kept
    # Of a heap, the first entry is the worst.
    nearer = (pools.priorities == NEAREST) & full & (result.keys[:, :, 0] < beyond)
    complete = ~pools.needed | nearer | _closed(request, horizons)
    draws = slice(pools.first_fill)
    satisfied = (~pools.needed | full)[:, draws].all(axis=1)
    complete[:, pools.first_fill :] |= satisfied[:, None]
    counted = (request.thresholds.distances < beyond).all(axis=1)
    settled: Bool[np.ndarray, " queries"] = counted & complete.all(axis=1)
    return np.asarray(settled | np.isposinf(horizons))


def _closed(
    request: ScanRequest, horizons: Float64[np.ndarray, " queries"]
) -> Bool[np.ndarray, "queries pools"]:
    """Whether all intervals of a pool end before the horizon, or hold nothing."""
    low, high = request.pools.low_distances, request.pools.high_distances
    closed: Bool[np.ndarray, "queries pools"] = (
        (high < horizons[:, None, None]) | (low > high) | (low == np.inf)
    ).all(axis=2)
    return closed
