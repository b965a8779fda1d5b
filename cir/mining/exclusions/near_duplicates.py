"""Near-copies: every pair of unit vectors whose cosine reaches a threshold, exactly.

Comparing all pairs in full would cost as much as mining itself. A narrow sketch settles nearly all
of them, and the few that it leaves are compared in full, so that none is missed and none invented.
"""

from itertools import repeat
from typing import Final, no_type_check

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.mining.numerics.bytemask import list_marked, unmarked
from cir.mining.numerics.cosine import paired_cosines
from cir.mining.numerics.float_codes import code_of, order_codes
from cir.mining.numerics.jit import compiled
from cir.mining.numerics.threads import scanning_threads
from cir.mining.scan.kernel import Sketched
from cir.mining.scan.threshold_counts import count_from
from cir.mining.sketch.product import Sketch, quickest_number

_TILE: Final = 4096
"""Gallery rows compared at once, by each thread."""
_BLOCK: Final = 512
"""Vectors compared with them at once."""
_CPU: Final = torch.device("cpu")


def near_duplicates(
    wanted: Float32[np.ndarray, "wanted dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    threshold: float,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Every (row of `wanted`, row of `gallery`) whose cosine is at least `threshold`, in order.

    Cosines are those of `cir.mining.numerics.cosine`, compared in float32.
    """
    if not len(wanted) or not len(gallery):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    limit = np.float32(threshold)
    borders = np.full((len(wanted), 1), limit)
    starts = range(0, len(gallery), _TILE)
    with scanning_threads() as pool:
        sketch = Sketch(
            wanted, gallery, borders, quickest_number(_CPU), _CPU, ceiling=True, each=pool.map
        )
        found = list(
            pool.map(
                _in_tile, repeat(sketch), repeat(wanted), repeat(gallery), starts, repeat(limit)
            )
        )
    rows, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def _in_tile(
    sketch: Sketch,
    wanted: Float32[np.ndarray, "wanted dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    start: int,
    limit: np.float32,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs of one tile of the gallery, in no order."""
    tile = np.array(gallery[start : start + _TILE], dtype=np.float32)
    side, found = sketch.tile(tile), []
    room = torch.empty(_BLOCK, len(tile), dtype=sketch.number)
    for first in range(0, len(wanted), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(wanted)))
        rows, columns = _maybe_reaching(sketch.multiply(block, side, room[: block.stop - first]))
        reached = paired_cosines(wanted[block], rows, tile, columns) >= limit
        found.append((rows[reached] + first, columns[reached] + start))
    rows, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns


def _maybe_reaching(
    sketched: Sketched,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs whose similarity, less the limit, may be 0 or more."""
    codes, count = sketched.codes, sketched.codes.shape[1]
    counts, cell = np.empty(len(codes), dtype=np.int64), np.empty(1, dtype=np.float32)
    marked, places = unmarked(count), np.empty(count, dtype=np.int64)
    total = _count_reaching(codes, sketched.errors, sketched.shift, counts, cell)
    columns = np.empty(total, dtype=np.int64)
    if total:
        _list_reaching(
            codes, sketched.errors, sketched.shift, counts, cell, marked, places, columns
        )
    return np.repeat(np.arange(len(codes)), counts), columns


@compiled
@no_type_check
def _count_reaching(codes, errors, shift, counts, cell):
    """Makes codes of the products, and counts those of each query that may reach 0; in all."""
    total = 0
    for query in range(codes.shape[0]):
        row = codes[query]
        order_codes(row)
        counts[query] = count_from(row, row.dtype.type(code_of(-errors[query], shift, cell)), True)
        total += counts[query]
    return total


@compiled
@no_type_check
def _list_reaching(codes, errors, shift, counts, cell, marked, places, columns):
    """Writes the places of those, query after query."""
    start = 0
    for query in range(codes.shape[0]):
        if counts[query]:
            row = codes[query]
            least = row.dtype.type(code_of(-errors[query], shift, cell))
            for place in range(row.shape[0]):
                marked[place] = np.uint8(row[place] >= least)
            for turn in range(list_marked(marked, places)):
                columns[start + turn] = places[turn]
            start += counts[query]
