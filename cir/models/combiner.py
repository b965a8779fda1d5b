"""The combiners by name: the door to `cir.models.combiners`."""

from collections.abc import Callable, Mapping
from typing import Final

from torch import nn

from cir import arguments
from cir.models.combiners.attention_fusion import AttentionFusionCombiner
from cir.models.combiners.clip4cir import Clip4CirCombiner
from cir.models.combiners.features import require_widths
from cir.models.combiners.gated_sum import GatedSumCombiner
from cir.models.combiners.single import ReferenceOnly, TextOnly
from cir.models.combiners.summed import SumCombiner

__all__ = [
    "AttentionFusionCombiner",
    "Clip4CirCombiner",
    "GatedSumCombiner",
    "ReferenceOnly",
    "SumCombiner",
    "TextOnly",
    "build_combiner",
]

_BY_NAME: Final[Mapping[str, tuple[Callable[..., nn.Module], tuple[str, ...]]]] = {
    "gated-sum": (GatedSumCombiner, ("dim", "hidden", "dropout", "text_share")),
    "attention-fusion": (AttentionFusionCombiner, ("dim", "hidden")),
    "clip4cir": (Clip4CirCombiner, ("dim", "hidden", "projection")),
    "sum": (SumCombiner, ()),
}
"""Each class with what it takes of the arguments of `build_combiner`."""


def build_combiner(
    name: str,
    *,
    dim: int,
    hidden: int | None = None,
    projection: int | None = None,
    dropout: float = 0.0,
    text_share: float = 0.5,
) -> nn.Module:
    """A combiner with initial weights drawn from torch's generator.

    Args:
        name: gated-sum, attention-fusion, clip4cir or sum.
        dim: Components of the features.
        hidden: Inner width; by default 512, and eight times `dim` for clip4cir.
        projection: Width of clip4cir's projections; by default four times `dim`.
        dropout: Share of components that gated-sum drops while training; no part of the weights.
        text_share: Of the sum that gated-sum begins as.

    Raises:
        UsageError: there is no combiner of that name, it cannot be so wide, or has no such width.
    """
    arguments.choice("name", name, _BY_NAME)
    require_widths(dim=dim)
    arguments.share("dropout", dropout)
    given: dict[str, float | None] = {"dim": dim, "hidden": hidden, "projection": projection}
    given |= {"dropout": dropout, "text_share": text_share}
    make, taken = _BY_NAME[name]
    for width in ("hidden", "projection"):
        expected = f"None: {name} has no such width"
        holds = given[width] is None or width in taken
        arguments.require(width, given[width], expected, holds=holds)
    return make(**{key: given[key] for key in taken if given[key] is not None})
