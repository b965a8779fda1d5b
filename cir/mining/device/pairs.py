"""Pairs of a query and a candidate compared exactly: counts below thresholds, entries of pools."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from cir.mining.device.cosine import paired_distances
from cir.mining.device.request import DeviceRequest, Tile
from cir.mining.device.sampling_keys import gumbel, hash_codes, hashes
from cir.mining.device.topk_pools import Pools
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, require_known


class Pairs(NamedTuple):
    """Pairs of a block and a tile, each to be counted below thresholds or offered to one pool."""

    destinations: Int64[Tensor, " pairs"]
    """0 for the thresholds, 1 + the index of a pool."""
    queries: Int64[Tensor, " pairs"]
    positions: Int64[Tensor, " pairs"]
    """In the tile."""

    @classmethod
    def of_marked(cls, flat: Int64[Tensor, " pairs"], queries: int, rows: int) -> "Pairs":
        """From positions in flattened marks of (destination, query, candidate)."""
        within = flat % (queries * rows)
        return cls(flat // (queries * rows), within // rows, within % rows)


def compare_exactly(
    pairs: Pairs,
    products: Float32[Tensor, "queries rows"],
    request: DeviceRequest,
    tile: Tile,
    counts: Int64[Tensor, "queries thresholds two"],
    pools: Pools,
) -> None:
    """Compares pairs exactly, adds to the counts, and lets candidates into the pools.

    Args:
        pairs: Ordered by destination, query and position.
        products: The distances by which the pairs were found.
        request: That of the block.
        tile: The candidates.
        counts: Candidates below each threshold: all, and those of the query's category.
        pools: What the block keeps.
    """
    vectors = request.vectors, tile.vectors
    distances = paired_distances(vectors[0], pairs.queries, vectors[1], pairs.positions)
    _count_ambiguous_exactly(pairs, distances, products, request, tile, counts)
    rows, pool = tile.global_rows[pairs.positions], (pairs.destinations - 1).clamp(min=0)
    enters = (pairs.destinations > 0) & _admitted(pairs.queries, pool, distances, rows, request)
    owners = (pairs.queries * pools.rows.shape[1] + pool).masked_fill(
        ~enters, pools.rows.shape[0] * pools.rows.shape[1]
    )
    pools.offer(owners, _keys(pairs, pool, distances, request, tile), rows, distances)


def _count_ambiguous_exactly(
    pairs: Pairs,
    distances: Float32[Tensor, " pairs"],
    products: Float32[Tensor, "queries rows"],
    request: DeviceRequest,
    tile: Tile,
    counts: Int64[Tensor, "queries thresholds two"],
) -> None:
    """Counts the candidates whose products leave open whether they are below a threshold."""
    of, queries = request.thresholds, pairs.queries
    product = products[queries, pairs.positions][:, None]
    ambiguous = (product >= of.least[queries]) & (product <= of.most[queries])
    below = _before(
        distances[:, None], tile.global_rows[pairs.positions][:, None],
        of.distances[queries], of.rows[queries],
    )  # fmt: skip
    counted = below & ambiguous & (pairs.destinations == 0)[:, None]
    counts[:, :, 0].index_add_(0, queries, counted.long())
    if len(tile.members):
        in_category = tile.members[request.categories[queries], pairs.positions]
        counts[:, :, 1].index_add_(0, queries, (counted & in_category[:, None]).long())


def _admitted(
    queries: Int64[Tensor, " pairs"],
    pool: Int64[Tensor, " pairs"],
    distances: Float32[Tensor, " pairs"],
    rows: Int64[Tensor, " pairs"],
    request: DeviceRequest,
) -> Bool[Tensor, " pairs"]:
    """Whether (distance, row) lies in one of the pool's intervals."""
    bounds = (bound[queries, pool] for bound in request.intervals[:4])
    low_distances, low_rows, high_distances, high_rows = bounds
    key = distances[:, None], rows[:, None]
    inside = _before(*key, high_distances, high_rows) & ~_before(*key, low_distances, low_rows)
    return inside.any(dim=1)


def _keys(
    pairs: Pairs,
    pool: Int64[Tensor, " pairs"],
    distances: Float32[Tensor, " pairs"],
    request: DeviceRequest,
    tile: Tile,
) -> Float64[Tensor, " pairs"]:
    """What a pool orders by (`cir.mining.scan.sampling_keys`)."""
    nearness, settings = distances.double(), request.settings
    require_known(settings.priorities, NEAREST, UNIFORM, SOFTMAX)
    if set(settings.priorities) == {NEAREST}:
        return nearness
    first, second = (
        keys[pairs.queries, pool] for keys in (request.first_hash_keys, request.second_hash_keys)
    )
    keys = hashes(hash_codes(tile.row_ids_i32[pairs.positions], first, second))
    priorities = settings.priorities_on_device[pool]
    if SOFTMAX in settings.priorities:
        mixed = nearness / settings.temperature_on_device - gumbel(keys)
        keys = torch.where(priorities == SOFTMAX, mixed, keys)
    return torch.where(priorities == NEAREST, nearness, keys)


def _before(distances: Tensor, rows: Tensor, others: Tensor, other_rows: Tensor) -> Tensor:
    """Whether one (distance, row) is less than another."""
    return (distances < others) | ((distances == others) & (rows < other_rows))
