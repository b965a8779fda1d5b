"""Pairs of a query and a candidate compared exactly: counts below thresholds, entries of pools."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from cir.mining.device.chance import gumbel, hash_codes, hashes
from cir.mining.device.exact import paired_distances
from cir.mining.device.pools import Pools
from cir.mining.device.uploads import Question, Tile
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, require_known


class Pairs(NamedTuple):
    """Pairs of a block and a tile, each asked about by the thresholds or by one pool."""

    askers: Int64[Tensor, " pairs"]
    """0 for the thresholds, 1 + the number of a pool."""
    queries: Int64[Tensor, " pairs"]
    positions: Int64[Tensor, " pairs"]
    """In the tile."""

    @classmethod
    def of_marks(cls, flat: Int64[Tensor, " pairs"], queries: int, rows: int) -> "Pairs":
        """From positions in flattened marks of (asker, query, candidate)."""
        within = flat % (queries * rows)
        return cls(flat // (queries * rows), within // rows, within % rows)


def compare(
    pairs: Pairs,
    products: Float32[Tensor, "queries rows"],
    question: Question,
    tile: Tile,
    counts: Int64[Tensor, "queries thresholds two"],
    pools: Pools,
) -> None:
    """Compares pairs exactly, adds to the counts, and lets candidates into the pools.

    Args:
        pairs: Ordered by asker, query and position.
        products: The distances by which the pairs were found.
        question: That of the block.
        tile: The candidates.
        counts: Candidates below each threshold: all, and those of the query's category.
        pools: What the block keeps.
    """
    vectors = question.vectors, tile.vectors
    distances = paired_distances(vectors[0], pairs.queries, vectors[1], pairs.positions)
    _count(pairs, distances, products, question, tile, counts)
    rows, pool = tile.rows[pairs.positions], (pairs.askers - 1).clamp(min=0)
    enters = (pairs.askers > 0) & _admitted(pairs.queries, pool, distances, rows, question)
    owners = (pairs.queries * pools.rows.shape[1] + pool).masked_fill(
        ~enters, pools.rows.shape[0] * pools.rows.shape[1]
    )
    pools.enter(owners, _keys(pairs, pool, distances, question, tile), rows, distances)


def _count(
    pairs: Pairs,
    distances: Float32[Tensor, " pairs"],
    products: Float32[Tensor, "queries rows"],
    question: Question,
    tile: Tile,
    counts: Int64[Tensor, "queries thresholds two"],
) -> None:
    """Counts the candidates whose products leave open whether they are below a threshold."""
    of, queries = question.thresholds, pairs.queries
    product = products[queries, pairs.positions][:, None]
    doubtful = (product >= of.least[queries]) & (product <= of.most[queries])
    below = _before(
        distances[:, None], tile.rows[pairs.positions][:, None],
        of.distances[queries], of.rows[queries],
    )  # fmt: skip
    counted = below & doubtful & (pairs.askers == 0)[:, None]
    counts[:, :, 0].index_add_(0, queries, counted.long())
    if len(tile.members):
        own = tile.members[question.categories[queries], pairs.positions]
        counts[:, :, 1].index_add_(0, queries, (counted & own[:, None]).long())


def _admitted(
    queries: Int64[Tensor, " pairs"],
    pool: Int64[Tensor, " pairs"],
    distances: Float32[Tensor, " pairs"],
    rows: Int64[Tensor, " pairs"],
    question: Question,
) -> Bool[Tensor, " pairs"]:
    """Whether (distance, row) lies in one of the pool's intervals."""
    bounds = (bound[queries, pool] for bound in question.intervals[:4])
    low_distances, low_rows, high_distances, high_rows = bounds
    key = distances[:, None], rows[:, None]
    inside = _before(*key, high_distances, high_rows) & ~_before(*key, low_distances, low_rows)
    return inside.any(dim=1)


def _keys(
    pairs: Pairs,
    pool: Int64[Tensor, " pairs"],
    distances: Float32[Tensor, " pairs"],
    question: Question,
    tile: Tile,
) -> Float64[Tensor, " pairs"]:
    """What a pool orders by (`cir.mining.scan.sampling_keys`)."""
    nearness, sampling = distances.double(), question.sampling
    require_known(sampling.priorities, NEAREST, UNIFORM, SOFTMAX)
    if set(sampling.priorities) == {NEAREST}:
        return nearness
    words = (table[pairs.queries, pool] for table in (question.first_words, question.second_words))
    keys = hashes(hash_codes(tile.row_ids[pairs.positions], *words))
    priorities = sampling.of_priority[pool]
    if SOFTMAX in sampling.priorities:
        mixed = nearness / sampling.divisor - gumbel(keys)
        keys = torch.where(priorities == SOFTMAX, mixed, keys)
    return torch.where(priorities == NEAREST, nearness, keys)


def _before(distances: Tensor, rows: Tensor, others: Tensor, other_rows: Tensor) -> Tensor:
    """Whether one (distance, row) is less than another."""
    return (distances < others) | ((distances == others) & (rows < other_rows))
