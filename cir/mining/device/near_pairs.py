"""Every pair of near vectors, found wholly on one device."""

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.mining.device.arithmetic import plain_arithmetic
from cir.mining.device.cosine import paired_cosines
from cir.mining.device.request import uploaded
from cir.mining.numerics.cosine import product_error

BLOCK_SIZE: Final = 512
TILE_SIZE: Final = 1 << 16


def near_pairs(
    vectors: Float32[np.ndarray, "rows dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    limit: np.float32,
    device: torch.device,
    *,
    tile_size: int = TILE_SIZE,
    block_size: int = BLOCK_SIZE,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Finds every pair whose cosine, that of `cir.mining.numerics.cosine`, is at least `limit`.

    Args:
        vectors: Unit vectors, at least one.
        gallery: Unit vectors, at least one.
        limit: The least cosine.
        device: Any.
        tile_size: Rows of `gallery` that are compared at once.
        block_size: Rows of `vectors` that are compared with them at once.

    Returns:
        (row of `vectors`, row of `gallery`) of each, in no order.
    """
    possible, cosines = [], []
    least = float(limit) - 2 * product_error(vectors.shape[1])
    with plain_arithmetic(device):
        blocks = torch.split(uploaded(vectors, device), block_size)
        for start in range(0, len(gallery), tile_size):
            tile = uploaded(gallery[start : start + tile_size], device)
            for block_index, block in enumerate(blocks):
                rows, columns = (block @ tile.T >= least).nonzero().T
                cosines.append(paired_cosines(block, rows, tile, columns))
                possible.append(torch.stack([rows + block_index * block_size, columns + start]))
        near = torch.cat(cosines).cpu().numpy() >= limit
        found = torch.cat(possible, dim=1).cpu().numpy()[:, near]
    return found[0], found[1]
