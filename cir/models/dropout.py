"""Dropout that does not depend on how many processes share a batch."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from cir import arguments


@dataclass(frozen=True)
class Share:
    """One process's rows of a batch."""

    total: int
    rows: slice


class Dropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 2014), inverted: what is kept is scaled up while training.

    The mask is drawn for the whole batch from torch's generator. Processes with equal seeds and a
    share each therefore drop, together, what one process would.
    """

    def __init__(self, p: float) -> None:
        """Drops each component with probability `p`, in [0, 1)."""
        super().__init__()
        self.p = arguments.share("dropout", p)
        self.share: Share | None = None
        """The rows of the batch that come in; None where one process has the whole batch."""

    def forward(self, features: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """The features, some of them zero where training."""
        if not (self.training and self.p):
            return features
        share = self.share or Share(len(features), slice(None))
        kept = 1 - self.p
        mask = features.new_empty(share.total, features.shape[1]).bernoulli_(kept)
        return features * mask[share.rows].div_(kept)


def share_masks(module: nn.Module, total: int, rows: slice) -> None:
    """Sets the rows of a batch of `total` that come in next, for every dropout in `module`."""
    for each in module.modules():
        if isinstance(each, Dropout):
            each.share = Share(total, rows)
