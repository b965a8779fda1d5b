"""Dropout that does not depend on how many processes share a batch."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one process has."""

    total: int
    rows: slice


class Dropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 2014), inverted: what is kept is scaled up while training.

    The mask is drawn for the whole batch from torch's generator, so that processes that are seeded
    alike and have a share each drop, all together, what one process would.
    """

    def __init__(self, probability: float) -> None:
        """Drops each component with `probability`, in [0, 1)."""
        super().__init__()
        self.probability = probability
        self.share: Share | None = None
        """The rows that come in; None for a batch that is not shared."""

    def forward(self, features: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """The features, some of them zero where training."""
        if not (self.training and self.probability):
            return features
        share = self.share or Share(len(features), slice(None))
        kept = 1 - self.probability
        mask = features.new_empty(share.total, features.shape[1]).bernoulli_(kept)
        return features * mask[share.rows].div_(kept)


def share_masks(module: nn.Module, total: int, rows: slice) -> None:
    """Tells every dropout in `module` which rows of a batch of `total` come in next."""
    for each in module.modules():
        if isinstance(each, Dropout):
            each.share = Share(total, rows)
