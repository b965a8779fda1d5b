"""The combiners by name: the door to `cir.models.combiners`."""

from collections.abc import Callable
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

_BY_NAME: Final[dict[str, Callable[[int, int, float, float], nn.Module]]] = {
    "gated-sum": GatedSumCombiner,
    "attention-fusion": lambda dim, hidden, *_: AttentionFusionCombiner(dim, hidden),
    "clip4cir": lambda dim, *_: Clip4CirCombiner(dim),
    "sum": lambda *_: SumCombiner(),
}


def build_combiner(
    name: str, *, dim: int, hidden: int, dropout: float = 0.0, text_share: float = 0.5
) -> nn.Module:
    """A combiner with initial weights drawn from torch's generator.

    Args:
        name: gated-sum, attention-fusion, clip4cir or sum.
        dim: Components of the features.
        hidden: Inner width of gated-sum and attention-fusion; clip4cir's follow from `dim`.
        dropout: Share of components that gated-sum drops while training; no part of the weights.
        text_share: Of the sum that gated-sum begins as.

    Raises:
        UsageError: there is no combiner of that name, or it cannot be so wide.
    """
    arguments.choice("name", name, _BY_NAME)
    require_widths(dim=dim, hidden=hidden)
    arguments.share("dropout", dropout)
    return _BY_NAME[name](dim, hidden, dropout, text_share)
