"""The one cosine similarity that decisions rest on: the same bits on every machine.

A matrix product adds in an order that depends on the library, the number of threads and the shape
of the block, so its last bits differ from run to run. Here each pair's products are added by
halving, every operation one rounding of IEEE float32:

    p_i = x_i y_i;   while more than one is left: p_i += p_{i + h} for i + h < n, h = ceil(n / 2)

x and y are unit vectors. The distance is 1 − p_0, rounded to float32 once more.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float32, Int

ROUNDING: Final = 2.0**-24
"""Unit roundoff of float32."""

_PAIRS: Final = 2048
"""Pairs multiplied at once, so that they stay in the processor's cache."""

_OTHER_ROUNDINGS: Final = 16
"""Roundings beside those of sums: of lengths near 1, of 1 − s, of thresholds; with room."""


def paired_cosines(
    left: Float32[np.ndarray, "left dim"],
    left_rows: Int[np.ndarray, " pairs"],
    right: Float32[np.ndarray, "right dim"],
    right_rows: Int[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """The cosine of each pair (left[left_rows[i]], right[right_rows[i]]) of unit vectors."""
    cosines = np.empty(len(left_rows), dtype=np.float32)
    for part in _parts(len(left_rows)):
        products = left[left_rows[part]]
        products *= right[right_rows[part]]
        cosines[part] = _sum_by_halving(products)
    return cosines


def paired_distances(
    left: Float32[np.ndarray, "left dim"],
    left_rows: Int[np.ndarray, " pairs"],
    right: Float32[np.ndarray, "right dim"],
    right_rows: Int[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    """1 − `paired_cosines`, in float32."""
    distances: Float32[np.ndarray, " pairs"] = np.float32(1) - paired_cosines(
        left, left_rows, right, right_rows
    )
    return distances


def product_error(dim: int) -> float:
    """How far a float32 matrix product may be from `paired_distances`, at most.

    A sum of n products in any order errs by at most n u Σ|x_i y_i| to first order (Higham, Accuracy
    and Stability of Numerical Algorithms, section 3.1), and Σ|x_i y_i| ≤ 1 for unit vectors; the
    sum by halving has log2 n + 1 roundings a term in place of n.
    """
    halvings = math.ceil(math.log2(dim)) + 1 if dim > 1 else 1
    return (dim + halvings + _OTHER_ROUNDINGS) * ROUNDING


def _parts(pairs: int) -> Iterator[slice]:
    for start in range(0, pairs, _PAIRS):
        yield slice(start, start + _PAIRS)


def _sum_by_halving(terms: Float32[np.ndarray, "pairs dim"]) -> Float32[np.ndarray, " pairs"]:
    """Sums each row of `terms`, which is overwritten."""
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0]
