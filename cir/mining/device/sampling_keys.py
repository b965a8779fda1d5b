"""The random numbers of `cir.mining.scan.sampling_keys` on any device: the same bits.

torch has few operations on unsigned integers. A word is held as int32, whose products and sums
wrap around alike, and a hash less 2^31 is a signed integer in the order of the hashes.
"""

import math
from typing import Final

import torch
from jaxtyping import Float64, Int32
from torch import Tensor

LARGEST_CODE: Final = 2**31 - 1
CODE_OFFSET: Final = 2.0**31
"""What a code lacks of its hash."""

_LN2: Final = math.log(2)
_SIGN: Final = -(2**31)
_LOW_BITS: Final = {13: 2**19 - 1, 16: 2**16 - 1}
"""What is left of 32 bits that are shifted to the right."""
_FACTORS: Final = 0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32


def hash_codes(
    row_ids: Int32[Tensor, "*#shape"],
    first: Int32[Tensor, "*#shape"],
    second: Int32[Tensor, "*#shape"],
) -> Int32[Tensor, "*shape"]:
    """`hash_of` of gallery rows and the two words of their queries, less `CODE_OFFSET`."""
    return _finalised(_finalised(row_ids ^ first) ^ second) ^ _SIGN


def hashes(codes: Int32[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The hashes that codes stand for."""
    return codes.double() + CODE_OFFSET


def gumbel(words: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """−log(−log u) for u = (h + 1/2) / 2^32, from IEEE's basic operations alone."""
    return -_log(-_log((words + 0.5) * 2.0**-32))


def nearly_gumbel(words: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """As `gumbel` but for the last bits, and several times as fast."""
    return (words + 0.5).mul_(2.0**-32).log_().neg_().log_().neg_()


def _finalised(word: Int32[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    """MurmurHash3's finaliser, in place."""
    word.bitwise_xor_(_shifted(word, 16)).mul_(_FACTORS[0])
    word.bitwise_xor_(_shifted(word, 13)).mul_(_FACTORS[1])
    return word.bitwise_xor_(_shifted(word, 16))


def _shifted(word: Int32[Tensor, "*shape"], bits: int) -> Int32[Tensor, "*shape"]:
    """Shifted to the right without the sign, which torch would carry along."""
    return (word >> bits).bitwise_and_(_LOW_BITS[bits])


def _log(values: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """As that of `cir.mining.scan.sampling_keys`, step by step."""
    mantissa, exponent = torch.frexp(values)
    small = mantissa < 0.70710678118654752
    mantissa, exponent = torch.where(small, 2 * mantissa, mantissa), exponent - small.int()
    ratio = (mantissa - 1) / (mantissa + 1)
    square, series = ratio * ratio, torch.zeros_like(ratio)
    for odd in range(23, 0, -2):
        series = series * square + 1.0 / odd
    return 2 * ratio * series + exponent.double() * _LN2
