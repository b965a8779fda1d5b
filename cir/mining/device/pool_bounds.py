"""Which candidates of a tile may enter a pool: few, by bounds that need no exact distance.

Products put candidates into a nearly right order: a score is off by half the slack of its pool at
most. Of a pool that keeps k, whatever scores more than the slack above the k-th least of those
surely inside, or above the worst that it keeps already, cannot enter.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from cir.mining.device.request import DeviceRequest, Tile
from cir.mining.device.sampling_keys import (
    CODE_OFFSET,
    LARGEST_CODE,
    hash_codes,
    hashes,
    nearly_gumbel,
)
from cir.mining.device.topk_pools import Pools
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, require_known

Distances = Float32[Tensor, "queries rows"]
Scores = Float32[Tensor, "queries #rows"] | Int32[Tensor, "queries #rows"]
Mask = Bool[Tensor, "queries rows"]

_GROUPS: Final = 8
"""Groups of candidates for each that a pool keeps."""
_LEAST_GROUPS: Final = 64
_COLDEST: Final = 1e-30
"""Divided by a lesser temperature, distances overflow float32: scores then rule nothing out."""
_ROUNDING: Final = 2.0**-17
"""More than the float32 roundings of a score, whose Gumbel variate is 23 at most."""


def may_enter(
    distances: Distances,
    request: DeviceRequest,
    tile: Tile,
    pools: Pools,
    pool: int,
    in_scope: Mask | None,
    *,
    narrow: bool,
) -> Mask:
    """Marks the candidates of a tile that may enter one pool of each query.

    Args:
        distances: By product; infinite where a candidate is excluded.
        request: That of the block.
        tile: The candidates.
        pools: What the block keeps already.
        pool: Which of the pools.
        in_scope: Candidates of its scope, or None for all.
        narrow: Whether to look for the least scores of the tile; otherwise a pool that is not full
            is offered all candidates inside.
    """
    inside = _scoped(_inside(distances, request, pools, pool), in_scope)
    settings = request.settings
    if settings.priorities[pool] == SOFTMAX and settings.temperature < _COLDEST:
        return inside
    scores = _scores(distances, request, tile, pool)
    bound = _worst_kept(pools, pool, scores.dtype)
    if narrow:
        surely = _scoped(_surely_inside(distances, request, pool), in_scope)
        least = torch.where(surely, scores, _greatest(scores.dtype))
        bound = bound.minimum(kth_least(least, pools.rows.shape[2]))
    return inside.logical_and_(scores <= bound + _slack(request, pool))


def kth_least(scores: Scores, k: int) -> Scores:
    """A number that at least k scores of each row do not exceed; the greatest where there are less.

    It is the k-th least of the minima of groups, each of which is a score: not much greater than
    the k-th least of all, and found in a fraction of the time.
    """
    queries, count = scores.shape
    if k > count:
        return scores.new_full((queries, 1), _greatest(scores.dtype))
    groups = max(_GROUPS * k, _LEAST_GROUPS)
    if count >= 2 * groups:
        width = count // groups
        whole, rest = scores[:, : width * groups], scores[:, width * groups :]
        # Neighbours, which are often alike, come into different groups.
        minima = whole.view(queries, width, groups).amin(dim=1)
        scores = torch.cat([minima, rest], dim=1)
    return scores.topk(k, dim=1, largest=False, sorted=False).values.amax(dim=1, keepdim=True)


def _inside(distances: Distances, request: DeviceRequest, pools: Pools, pool: int) -> Mask:
    """The candidates that may lie in an interval of a pool that the query needs."""
    bounds, needed = request.intervals, _needed(request, pools, pool)
    least, most = bounds.least[:, pool], bounds.most[:, pool]
    most = most.masked_fill(~needed[:, None], -torch.inf)
    inside = _between(distances, least[:, :1], most[:, :1])
    if request.settings.doubled[pool]:
        inside |= _between(distances, least[:, 1:], most[:, 1:])
    return inside


def _surely_inside(distances: Distances, request: DeviceRequest, pool: int) -> Mask:
    """Candidates that surely lie in the last interval that holds any."""
    bounds, part = request.intervals, int(request.settings.doubled[pool])
    least, most = bounds.surely_least[:, pool, part], bounds.surely_most[:, pool, part]
    return _between(distances, least[:, None], most[:, None])


def _between(distances: Distances, least: Tensor, most: Tensor) -> Mask:
    return (distances >= least).logical_and_(distances <= most)


def _scoped(marked: Mask, in_scope: Mask | None) -> Mask:
    return marked if in_scope is None else marked.logical_and_(in_scope)


def _needed(request: DeviceRequest, pools: Pools, pool: int) -> Bool[Tensor, " queries"]:
    """The queries that need a pool; none needs a fill whose draws are full."""
    needed = request.needed
    draws = slice(request.settings.first_fill)
    if pool < request.settings.first_fill:
        return needed[:, pool]
    return needed[:, pool] & (needed[:, draws] & ~pools.full[:, draws]).any(dim=1)


def _scores(distances: Distances, request: DeviceRequest, tile: Tile, pool: int) -> Scores:
    """What nearly orders the candidates of a pool, the least first."""
    priority = request.settings.priorities[pool]
    require_known([priority], NEAREST, UNIFORM, SOFTMAX)
    if priority == NEAREST:
        return distances
    first, second = request.first_hash_keys[:, pool, None], request.second_hash_keys[:, pool, None]
    codes = hash_codes(tile.row_ids_i32[None], first, second)
    if priority == UNIFORM:
        return codes
    return distances / request.settings.temperature - nearly_gumbel(hashes(codes)).float()


def _worst_kept(pools: Pools, pool: int, dtype: torch.dtype) -> Scores:
    """The greatest key of a full pool as a score; the greatest score where it is not full."""
    keys, full = pools.keys[:, pool, -1:], pools.full[:, pool, None]
    if dtype == torch.int32:
        keys = keys.masked_fill(~full, 0) - CODE_OFFSET
    return keys.to(dtype).masked_fill(~full, _greatest(dtype))


def _slack(request: DeviceRequest, pool: int) -> float:
    """Twice what the scores of a pool may be off, and more."""
    settings = request.settings
    require_known([settings.priorities[pool]], NEAREST, UNIFORM, SOFTMAX)
    if settings.priorities[pool] == UNIFORM:
        return 0
    if settings.priorities[pool] == NEAREST:
        return 3 * settings.error
    return 3 * ((settings.error + _ROUNDING) / settings.temperature + _ROUNDING)


def _greatest(dtype: torch.dtype) -> float:
    return LARGEST_CODE if dtype == torch.int32 else torch.inf
