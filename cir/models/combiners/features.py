"""Lengths of feature vectors, and widths: what combiners begin and end with."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cir import arguments


def normalised(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Unit vectors, in float32 whatever the arithmetic before."""
    return functional.normalize(vectors.float(), dim=-1)


def scaled(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Vectors whose components have a root mean square of one."""
    return normalised(vectors) * math.sqrt(vectors.shape[-1])


def require_widths(**widths: int) -> None:
    """Raises UsageError unless each width of a combiner is a whole number of at least 1."""
    for name, width in widths.items():
        arguments.integer(name, width, 1)
