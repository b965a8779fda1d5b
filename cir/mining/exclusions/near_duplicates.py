"""Near-duplicates: every pair of unit vectors whose cosine reaches a threshold, exactly.

Comparing all pairs exactly would cost as much as mining itself. A narrow sketch (on a GPU, a plain
product) decides nearly all of them, and the few that it leaves are compared exactly, so that none
is missed and none invented.
"""

from functools import partial
from typing import Final, no_type_check

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.mining.arguments import mining_device
from cir.mining.device.near_pairs import near_pairs
from cir.mining.numerics.bytemask import list_marked, unlisted, unmarked
from cir.mining.numerics.codes import BITS, code_of, order_codes
from cir.mining.numerics.cosine import paired_cosines
from cir.mining.numerics.jit import compiled
from cir.mining.numerics.ordering import MOST_COUNTED, count_above
from cir.mining.numerics.threads import scanning_threads
from cir.mining.sketch.product import Sketch, Sketched, fastest_dtype

TILE_SIZE: Final = 4096
"""Gallery rows that each thread compares at once."""
BLOCK_SIZE: Final = 512
"""Vectors that are compared with them at once."""
CPU: Final = torch.device("cpu")


def near_duplicates(
    vectors: Float32[np.ndarray, "rows dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    threshold: float,
    *,
    device: torch.device = CPU,
    tile_size: int = TILE_SIZE,
    block_size: int = BLOCK_SIZE,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Finds every pair of near-duplicates, in order.

    Args:
        vectors: Unit vectors.
        gallery: Unit vectors.
        threshold: The least cosine of near-duplicates, compared in float32.
        device: Where they are compared.
        tile_size: Gallery rows that each thread compares at once, on the CPU; `MOST_COUNTED` is
            the most.
        block_size: Rows of `vectors` that are compared with them at once, on the CPU.

    Returns:
        (row of `vectors`, row of `gallery`) of every pair whose cosine, that of
        `cir.mining.numerics.cosine`, is at least `threshold`.
    """
    if not len(vectors) or not len(gallery):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    limit, device = np.float32(threshold), mining_device(device)
    if device.type == "cpu":
        tile_size = min(tile_size, MOST_COUNTED)
        rows, columns = _pairs_on_cpu(vectors, gallery, limit, tile_size, block_size)
    else:
        rows, columns = near_pairs(vectors, gallery, limit, device)
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def _pairs_on_cpu(
    vectors: Float32[np.ndarray, "rows dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    limit: np.float32,
    tile_size: int,
    block_size: int,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs whose cosine is at least `limit`, in no order."""
    decisions = np.full((len(vectors), 1), limit)
    starts = range(0, len(gallery), tile_size)
    with scanning_threads() as pool:
        sketch = Sketch(
            vectors, gallery, decisions, fastest_dtype(), ceiling=True, run_parts=pool.map
        )
        search = partial(_pairs_of_tile, sketch, vectors, gallery, limit, tile_size, block_size)
        by_tile = list(pool.map(search, starts))
    rows, columns = (np.concatenate(parts) for parts in zip(*by_tile, strict=True))
    return rows, columns


def _pairs_of_tile(
    sketch: Sketch,
    vectors: Float32[np.ndarray, "rows dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    limit: np.float32,
    tile_size: int,
    block_size: int,
    start: int,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs of the tile that begins at a gallery row, in no order."""
    tile = np.array(gallery[start : start + tile_size], dtype=np.float32)
    side, by_block = sketch.tile(tile), []
    products = torch.empty(block_size, len(tile), dtype=sketch.dtype)
    for first in range(0, len(vectors), block_size):
        block = slice(first, min(first + block_size, len(vectors)))
        sketched = sketch.multiply(block, side, products[: block.stop - first])
        rows, columns = _possible_pairs(sketched)
        near = paired_cosines(vectors[block], rows, tile, columns) >= limit
        by_block.append((rows[near] + first, columns[near] + start))
    rows, columns = (np.concatenate(parts) for parts in zip(*by_block, strict=True))
    return rows, columns


def _possible_pairs(
    sketched: Sketched,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs whose similarity, less the limit, may be 0 or more."""
    codes, width = sketched.codes, sketched.codes.shape[1]
    counts, cell = np.empty(len(codes), dtype=np.int64), np.empty(1, dtype=np.float32)
    marked, positions = unmarked(width), unlisted(width)
    total = _count_possible(codes, sketched, counts, cell)
    columns = np.empty(total, dtype=np.int64)
    if total:
        _list_possible(codes, sketched, counts, cell, marked, positions, columns)
    return np.repeat(np.arange(len(codes)), counts), columns


@compiled
@no_type_check
def _count_possible(codes, sketched, counts, cell):
    """Makes codes of the products, and counts those of each row that may reach 0; in all."""
    total = 0
    for row in range(codes.shape[0]):
        if sketched.steps[row] == BITS:
            order_codes(codes[row])
        least = _least(sketched, row, cell)
        counts[row] = count_above(codes[row], least, True)
        total += counts[row]
    return total


@compiled
@no_type_check
def _list_possible(codes, sketched, counts, cell, marked, positions, columns):
    """Writes the columns of those, row after row."""
    start = 0
    for row in range(codes.shape[0]):
        if counts[row]:
            least = _least(sketched, row, cell)
            for column in range(codes.shape[1]):
                marked[column] = np.uint8(codes[row, column] >= least)
            for index in range(list_marked(marked, positions)):
                columns[start + index] = positions[index]
            start += counts[row]


@compiled
@no_type_check
def _least(sketched, row, cell):
    """The least code of a similarity that may reach the limit."""
    code = code_of(-sketched.errors[row], sketched.shift, sketched.steps[row], cell)
    return sketched.codes.dtype.type(code)
