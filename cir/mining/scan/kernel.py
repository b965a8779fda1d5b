"""The compiled scan of one tile of the gallery.

For each query the scan counts the candidates below its thresholds, and keeps in each of its pools
the candidates of least key. A sketched similarity (`cir.mining.sketch.product`) decides nearly all
of it: the scan computes the exact similarity only of candidates within the sketch's error of a
threshold, or near enough to enter a pool. The result is what comparing every candidate exactly
would give, bit for bit, however queries and gallery are cut into blocks and tiles.

    code_bounds       distances as codes of sketched similarities
    threshold_counts  candidates below each threshold
    topk_pools        candidates of least key
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, UInt8, UInt32

from cir.mining.numerics.bytemask import unlisted, unmarked
from cir.mining.numerics.codes import BITS, order_codes
from cir.mining.numerics.jit import compiled
from cir.mining.scan.code_bounds import set_threshold_codes
from cir.mining.scan.request import PoolRequest, ThresholdQueries
from cir.mining.scan.result import ScanResult
from cir.mining.scan.threshold_counts import count_ambiguous_exactly, count_surely_below
from cir.mining.scan.topk_pools import all_full, offer
from cir.mining.sketch.product import Sketched


class Tile(NamedTuple):
    """Some rows of the gallery."""

    vectors: Float32[np.ndarray, "rows dim"]
    global_rows: Int64[np.ndarray, " rows"]
    """Their rows in the whole gallery."""
    row_ids_u32: UInt32[np.ndarray, " rows"]
    """The lower 32 bits of those, from which hashes are made."""


class SketchedRow(NamedTuple):
    """The sketched similarities of one query with a tile."""

    codes: Int[np.ndarray, " rows"]
    """Integers in the order of (similarity − offset)."""
    shift: int
    """Bits of float32 that they lack, if they are bits."""
    step: float
    """What they count, or `BITS`."""
    offset: float
    error: float
    """How far a similarity may be off, at most."""
    product_error: float
    """How far `nearly_cosine` may be off."""
    members: Bool[np.ndarray, " rows"]
    """Which rows are of the query's category."""
    scoped: bool
    """Whether the plan draws by category; otherwise `members` is false throughout."""


class Scratch(NamedTuple):
    """The memory in which a thread scans one query and one tile at a time."""

    threshold_codes: Int[np.ndarray, "thresholds two"]
    """The least and the greatest code that leave open on which side of a threshold they lie."""
    pool_codes: Int[np.ndarray, "intervals two"]
    """The least and the greatest code of candidates that may enter a pool."""
    marked: UInt8[np.ndarray, " words"]
    """1 where a candidate needs a closer look; as long as a whole number of words."""
    positions: Int64[np.ndarray, " positions"]
    """The positions of the marked candidates in the tile."""
    cosines: Float32[np.ndarray, " rows"]
    """The similarities of those in doubt at a threshold, nearly; others are of earlier queries."""
    terms: Float32[np.ndarray, " half"]
    """What `cosine` works in."""
    cell: Float32[np.ndarray, " one"]
    """What `code_of` and `number_of` work in."""
    no_members: Bool[np.ndarray, " rows"]
    """False throughout."""


def scratch_for(rows: int, dim: int, thresholds: int, codes: np.dtype[Any]) -> Scratch:
    """Scratch memory for tiles of so many rows, or fewer."""
    return Scratch(
        threshold_codes=np.empty((thresholds, 2), codes),
        pool_codes=np.empty((2, 2), codes),
        marked=unmarked(rows),
        positions=unlisted(rows),
        cosines=np.empty(rows, np.float32),
        terms=np.empty((dim + 1) // 2, np.float32),
        cell=np.empty(1, np.float32),
        no_members=np.zeros(rows, np.bool_),
    )


def scan_tile(
    sketched: Sketched,
    tile: Tile,
    members: Bool[np.ndarray, "categories rows"],
    thresholds: ThresholdQueries,
    pools: PoolRequest,
    result: ScanResult,
    product_error: float,
) -> None:
    """Scans a tile for a block of queries, and adds what it finds to `result`.

    Args:
        sketched: Similarities of the block and the tile; they are overwritten.
        tile: Some rows of the gallery.
        members: The rows of the tile in each category; no category where the plan draws by none.
        thresholds: The block's queries, and what to count for them.
        pools: What to keep for them.
        result: That of the block; its arrays are changed.
        product_error: How far `nearly_cosine` may be off.
    """
    rows, dim = tile.vectors.shape
    per_query = thresholds.rows.shape[1]
    scratch = scratch_for(rows, dim, per_query, sketched.codes.dtype)
    _scan_block(sketched, tile, members, thresholds, pools, result, scratch, product_error)


@compiled
@no_type_check
def _scan_block(sketched, tile, members, thresholds, pools, result, scratch, product_error):
    scoped = members.shape[0] > 0
    for query in range(sketched.codes.shape[0]):
        in_category = scratch.no_members
        if scoped:
            in_category = members[thresholds.categories[query]]
        row = SketchedRow(
            sketched.codes[query],
            sketched.shift,
            sketched.steps[query],
            sketched.offsets[query],
            sketched.errors[query],
            product_error,
            in_category,
            scoped,
        )
        scan_query(query, row, tile, thresholds, pools, result, scratch)


@compiled
@no_type_check
def scan_query(query, row, tile, thresholds, pools, result, scratch):
    """Scans a tile for one query.

    Args:
        query: Which row of `thresholds`, `pools` and `result`.
        row: A `SketchedRow` whose codes, if they are bits, are still to be put in order.
        tile: A `Tile`.
        thresholds: A `ThresholdQueries`.
        pools: A `PoolRequest`.
        result: A `ScanResult`, whose arrays are changed.
        scratch: A `Scratch`.
    """
    if row.step == BITS:
        order_codes(row.codes)
    set_threshold_codes(thresholds.distances[query], row, scratch)
    counts_below = result.counts_below[query]
    if count_surely_below(row, scratch.threshold_codes, counts_below, scratch.marked):
        count_ambiguous_exactly(query, row, tile, thresholds, counts_below, scratch)
    for pool in range(pools.scopes.shape[0]):
        if pool == pools.first_fill and all_full(query, pool, pools, result):
            break
        if pools.needed[query, pool]:
            offer(query, pool, row, tile, thresholds.vectors[query], pools, result, scratch)
