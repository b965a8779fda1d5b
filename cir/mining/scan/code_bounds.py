"""Which codes a candidate may have whose distance is known to lie between two others.

A sketched similarity is off by its error at most, so a distance becomes two codes: candidates with
codes outside of them lie surely on one side of it.
"""

from typing import no_type_check

import numpy as np

from cir.mining.numerics.float_codes import code_of
from cir.mining.numerics.jit import compiled


@compiled
@no_type_check
def set_limits(query, sketched, asked, wanted, room):
    """Writes the codes about the borders of a query, and those of its pools, into `room`."""
    zero, error, shift = sketched.zeros[query], sketched.errors[query], sketched.shift
    for border in range(room.limits.shape[0]):
        distance = asked.border_distances[query, border]
        _limit(room.limits[border], distance, distance, zero, error, shift, room.cell)
    for pool in range(room.ranges.shape[0]):
        for part in range(2):
            low = wanted.low_distances[query, pool, part]
            high = wanted.high_distances[query, pool, part]
            _limit(room.ranges[pool, part], low, high, zero, error, shift, room.cell)


@compiled
@no_type_check
def _limit(limit, low, high, zero, error, shift, cell):
    """The codes that a candidate of a distance from `low` to `high` may have."""
    least, most = np.iinfo(limit.dtype).min + 1, np.iinfo(limit.dtype).max
    limit[0], limit[1] = least, most
    if low == np.inf:
        limit[0], limit[1] = most, least
        return
    if high < np.inf:
        limit[0] = max(code_of(1.0 - high - zero - error, shift, cell), least)
    if low > -np.inf:
        limit[1] = min(code_of(1.0 - low - zero + error, shift, cell) + 1, most)
