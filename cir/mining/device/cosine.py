"""Exact distances on any device: the same bits as `cir.mining.numerics.cosine`.

Each halving is an elementwise operation of its own, one rounding a number. Compiled together, a
product and a sum would be fused into one rounding, and the bits would differ.
"""

from typing import Final

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_COMPONENTS: Final = 1 << 24
"""Products that are in memory at once."""


def paired_cosines(
    left: Float32[Tensor, "left dim"],
    left_rows: Int64[Tensor, " pairs"],
    right: Float32[Tensor, "right dim"],
    right_rows: Int64[Tensor, " pairs"],
    components: int = _COMPONENTS,
) -> Float32[Tensor, " pairs"]:
    """The cosine of each pair (left[left_rows[i]], right[right_rows[i]]) of unit vectors.

    Args:
        left: Unit vectors.
        left_rows: Rows of `left`.
        right: Unit vectors, on the same device.
        right_rows: Rows of `right`.
        components: Products that are in memory at once.
    """
    step = max(1, components // left.shape[1])
    parts = zip(torch.split(left_rows, step), torch.split(right_rows, step), strict=True)
    return torch.cat([_halved(left[some] * right[others]) for some, others in parts])


def paired_distances(
    left: Float32[Tensor, "left dim"],
    left_rows: Int64[Tensor, " pairs"],
    right: Float32[Tensor, "right dim"],
    right_rows: Int64[Tensor, " pairs"],
    components: int = _COMPONENTS,
) -> Float32[Tensor, " pairs"]:
    """1 − `paired_cosines`, in float32."""
    return 1 - paired_cosines(left, left_rows, right, right_rows, components)


def _halved(terms: Float32[Tensor, "pairs dim"]) -> Float32[Tensor, " pairs"]:
    """The sum of each row by halving; the terms are overwritten."""
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0]
