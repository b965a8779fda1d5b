"""The compiled scan: what is kept of each query while the gallery passes by, tile after tile.

For each query the scan counts the candidates nearer than its borders, and keeps in each of its
pools the candidates of least key. A sketched similarity (`cir.mining.sketch.product`) settles nearly all of
it: only candidates within its error of a border, or near enough to enter a pool, are compared in
full. What comes out is what comparing every candidate in full would give, bit for bit, however
queries and gallery are cut up.

    limits    distances as codes of sketched similarities    cir.mining.scan.code_bounds
    counts    candidates before each border                  cir.mining.scan.threshold_counts
    pools     candidates of least key                        cir.mining.scan.topk_pools
"""

from typing import Any, Final, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt32

from cir.mining.scan.request import ThresholdQueries, PoolRequest
from cir.mining.numerics.float_codes import order_codes
from cir.mining.numerics.jit import compiled
from cir.mining.scan.threshold_counts import count, count_ambiguous_exactly
from cir.mining.scan.result import ScanResult
from cir.mining.scan.code_bounds import set_limits
from cir.mining.numerics.bytemask import unmarked
from cir.mining.scan.topk_pools import all_full, offer


class Tile(NamedTuple):
    """Some of the gallery."""

    vectors: Float32[np.ndarray, "rows dim"]
    rows: Int64[np.ndarray, " rows"]
    """What each is called."""
    words: UInt32[np.ndarray, " rows"]
    """32 bits of that, which hashes are made of."""
    members: Bool[np.ndarray, "categories rows"]
    """No row where the plan knows no categories."""


class Sketched(NamedTuple):
    """Similarities of queries and a tile, nearly, and what is known of them."""

    codes: Int64[np.ndarray, "queries rows"]
    """Bits of (similarity − zero) as signed integers of 16 or 32 bits, or `BARRED`; overwritten by
    the scan."""
    shift: int
    """Bits of float32 that they lack: 16 for bfloat16, 0 for float32."""
    zeros: Float64[np.ndarray, " queries"]
    errors: Float64[np.ndarray, " queries"]
    """How far they may be off, at most."""


BARRED: Final = -1
"""The bits of a number that no product gives: those of an excluded candidate."""


class Scratch(NamedTuple):
    """What a thread works in; for one query and a tile at a time."""

    limits: Int64[np.ndarray, "borders two"]
    """Codes between which a candidate may lie on either side of a border."""
    ranges: Int64[np.ndarray, "pools intervals two"]
    """Codes between which a candidate may enter a pool."""
    marked: UInt8[np.ndarray, " rows"]
    """1 where a candidate needs a closer look; as long as a whole number of words."""
    places: Int64[np.ndarray, " rows"]
    """Where those are."""
    terms: Float32[np.ndarray, " half"]
    cell: Float32[np.ndarray, " one"]

    own: Bool[np.ndarray, " rows"]
    """Set nowhere: whose rows of a category there are where the plan knows none."""


def scratch_for(rows: int, dim: int, pools: int, borders: int, codes: np.dtype[Any]) -> Scratch:
    """Scratch for a tile of so many rows, or fewer."""
    return Scratch(
        limits=np.empty((borders, 2), codes),
        ranges=np.empty((pools, 2, 2), codes),
        marked=unmarked(rows),
        places=np.empty(rows, np.int64),
        terms=np.empty((dim + 1) // 2, np.float32),
        cell=np.empty(1, np.float32),
        own=np.zeros(rows, np.bool_),
    )


def scan(
    sketched: Sketched,
    tile: Tile,
    asked: ThresholdQueries,
    wanted: PoolRequest,
    found: ScanResult,
    product_error: float,
) -> None:
    """Lets a tile pass by a block of queries, and adds what they find to `found`.

    Args:
        sketched: Similarities of the block and the tile.
        tile: Some of the gallery.
        asked: What is counted.
        wanted: What is kept.
        found: Of the block; its arrays are changed.
        product_error: How far `nearly_cosine` may be off.
    """
    rows, dim = tile.vectors.shape
    borders, pools = asked.border_rows.shape[1], len(wanted.scopes)
    room = scratch_for(rows, dim, pools, borders, sketched.codes.dtype)
    scan_tile(sketched, tile, asked, wanted, found, room, product_error)


@compiled
@no_type_check
def scan_tile(sketched, tile, asked, wanted, found, room, product_error):
    """As `scan`, in a `Scratch` that is given."""
    codes = sketched.codes
    for query in range(codes.shape[0]):
        row, own, scoped = codes[query], room.own, tile.members.shape[0] > 0
        if scoped:
            own = tile.members[asked.categories[query]]
        order_codes(row)
        set_limits(query, sketched, asked, wanted, room)
        if count(row, own, scoped, room.limits, found.nearer[query], room.marked):
            count_ambiguous_exactly(
                row, own, tile.rows, tile.vectors, asked.vectors[query],
                asked.border_distances[query], asked.border_rows[query], found.nearer[query],
                room.limits, room.marked, room.places, room.terms, product_error,
            )  # fmt: skip
        for pool in range(wanted.scopes.shape[0]):
            if pool == wanted.first_fill and all_full(query, pool, wanted, found):
                break
            if wanted.needed[query, pool]:
                offer(
                    query, pool, row, own, sketched, tile, asked, wanted, found, room, product_error
                )
