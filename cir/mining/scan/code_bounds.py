"""The codes that a candidate may have, given that its distance lies between two others.

A sketched similarity is off by its error at most, so a distance becomes two codes: a candidate
whose code is outside of them is surely on one side of that distance.
"""

from typing import no_type_check

import numpy as np

from cir.mining.numerics.codes import code_of
from cir.mining.numerics.jit import compiled


@compiled
@no_type_check
def set_threshold_codes(distances, row, scratch):
    """Writes the code bounds of the distances of a query's thresholds into `scratch`."""
    for threshold in range(scratch.threshold_codes.shape[0]):
        distance = distances[threshold]
        _set_bounds(scratch.threshold_codes[threshold], distance, distance, row, scratch.cell)


@compiled
@no_type_check
def set_pool_codes(pool, row, cell):
    """Writes the code bounds of a pool's intervals into `pool.codes`."""
    for part in range(pool.codes.shape[0]):
        low, high = pool.low_distances[part], pool.high_distances[part]
        _set_bounds(pool.codes[part], low, high, row, cell)


@compiled
@no_type_check
def _set_bounds(bounds, low, high, row, cell):
    """Writes the least and greatest code of a candidate whose distance is from `low` to `high`."""
    least, most = np.iinfo(bounds.dtype).min + 1, np.iinfo(bounds.dtype).max
    bounds[0], bounds[1] = least, most
    # An interval that begins at infinity is empty.
    if low == np.inf:
        bounds[0], bounds[1] = most, least
        return
    if high < np.inf:
        bounds[0] = max(
            code_of(1.0 - high - row.offset - row.error, row.shift, row.step, cell), least
        )
    # `code_of` rounds down, so one more is surely enough.
    if low > -np.inf:
        bounds[1] = min(
            code_of(1.0 - low - row.offset + row.error, row.shift, row.step, cell) + 1, most
        )
