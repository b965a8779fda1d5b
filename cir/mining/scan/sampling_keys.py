"""Which candidates stay in a pool: the nearest, or those that chance prefers.

Every candidate has a key, and a pool keeps those of least (key, gallery row). The key is

    nearest     d, the distance
    uniform     h, a hash of query and candidate: the k least of a set are a uniform sample of it
    softmax     d / τ − g, g a Gumbel variate made from h: the k least are a sample without
                replacement with weights exp(−d / τ) (Efraimidis and Spirakis, 2006; Kool, van Hoof
                and Welling, ICML 2019)

so that a sample depends on the query, the candidates and the seed, never on the order in which
the scan meets candidates nor on where each of them is stored.

To add a way of sampling, name it in `cir.types.Sampling`, let `cir.mining.selection` choose it for
a plan, and compute its key in `cir.mining.scan.topk_pools` (`_key`), with a bound of it that needs
no exact similarity (`_least_key`) and the hashes that may still enter (`_last_hash`). For a GPU,
compute the same key in `cir.mining.device.pairs` (`_keys`), and in `cir.mining.device.pool_bounds`
a score that orders nearly as the key does (`_scores`), with how far it may be off (`_slack`); each
of these refuses a way that it does not name.
"""

import math
from collections.abc import Iterable
from typing import Final, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64, UInt32, UInt64

from cir.mining.numerics.jit import compiled

NEAREST: Final = 0
UNIFORM: Final = 1
SOFTMAX: Final = 2

HASHES: Final = 2.0**32

_LN2: Final = math.log(2)
_GUMBELS_APART: Final = 1e-6
"""More than `gumbel` and libraries' exponentials are off."""
_WEYL: Final = np.uint64(0x9E3779B97F4A7C15)


def require_known(priorities: Iterable[int], *known: int) -> None:
    """Requires that whoever orders candidates knows each way that is asked for.

    Raises:
        NotImplementedError: one is of another way of sampling, whose keys are not made here.
    """
    other = set(priorities).difference(known)
    if other:
        ours = ", ".join(map(str, known))
        raise NotImplementedError(f"priority {min(other)} is not among {ours}")


def hash_keys(
    seed: int, draw_index: int, queries: Int64[np.ndarray, " queries"]
) -> UInt32[np.ndarray, "queries two"]:
    """Two words for each query, which make its hashes independent of those of other queries.

    `draw_index` tells apart the draws for one query.
    """
    key = _mixed(_mixed(np.array([seed], dtype=np.uint64)) ^ np.uint64(draw_index))
    words = _mixed((key ^ queries.astype(np.uint64)) + _WEYL)
    return np.stack([words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)], axis=1).astype(
        np.uint32
    )


def _mixed(values: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijective hash."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


@compiled
@no_type_check
def hash_of(row_id, first, second):
    """The hash of a gallery row, of which 32 bits are given, for the two words of a query.

    Two rounds of MurmurHash3's finaliser (Appleby), a word before each.
    """
    word = np.uint32(row_id ^ first)
    word = np.uint32(np.uint32(word ^ np.uint32(word >> 16)) * np.uint32(0x85EBCA6B))
    word = np.uint32(np.uint32(word ^ np.uint32(word >> 13)) * np.uint32(0xC2B2AE35))
    word = np.uint32(np.uint32(word ^ np.uint32(word >> 16)) ^ second)
    word = np.uint32(np.uint32(word ^ np.uint32(word >> 16)) * np.uint32(0x85EBCA6B))
    word = np.uint32(np.uint32(word ^ np.uint32(word >> 13)) * np.uint32(0xC2B2AE35))
    return np.uint32(word ^ np.uint32(word >> 16))


@compiled
@no_type_check
def gumbel(word):
    """−log(−log u) for u = (h + 1/2) / 2^32: a standard Gumbel variate from 32 bits."""
    return -_log(-_log((word + 0.5) / HASHES))


@compiled
@no_type_check
def gumbel_ceiling(word):
    """A number that `gumbel` does not exceed, at a tenth of its cost.

    −log u ≥ 1 − u, so that −log(−log u) ≤ −log(1 − u), whose logarithm is rounded up to a power
    of two.
    """
    return (1 - math.frexp((HASHES - 0.5 - word) / HASHES)[1]) * _LN2


@compiled
@no_type_check
def greater_gumbels(bound):
    """How many hashes, or a few more, have a `gumbel` of at least `bound`: they are the greatest.

    g ≥ x is u ≥ exp(−exp(−x)), so that 1 − exp(−exp(−x)) of them have one.
    """
    share = -math.expm1(-math.exp(min(_GUMBELS_APART - bound, 700.0)))
    return min(np.floor(HASHES * share) + 1, HASHES)


@compiled
@no_type_check
def _log(value):
    """The natural logarithm from IEEE's basic operations alone, the same bits on every machine.

    log m = 2 artanh((m − 1) / (m + 1)), of which twelve terms suffice for m within √2 of 1.
    """
    mantissa, exponent = math.frexp(value)
    if mantissa < 0.70710678118654752:
        mantissa, exponent = 2 * mantissa, exponent - 1
    ratio = (mantissa - 1) / (mantissa + 1)
    square, series = ratio * ratio, 0.0
    for odd in range(23, 0, -2):
        series = series * square + 1.0 / odd
    return 2 * ratio * series + exponent * _LN2
