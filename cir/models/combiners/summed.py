"""The sum of both sides, plain or weighted."""

from jaxtyping import Float
from torch import Tensor, nn

from cir import arguments
from cir.models.combiners.features import normalised


class SumCombiner(nn.Module):
    """normalise((1 - w) normalise(image) + w normalise(text)): nothing to learn."""

    def __init__(self, text_share: float = 0.5) -> None:
        """Keeps the share.

        Args:
            text_share: w; with a half of each, the plain sum.

        Raises:
            UsageError: it is no share.
        """
        super().__init__()
        self.text_share = arguments.real("text_share", text_share, 0, 1)

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return normalised(
            (1 - self.text_share) * normalised(image) + self.text_share * normalised(text)
        )
