"""One side of a query alone: what the other adds is measured against it."""

from jaxtyping import Float
from torch import Tensor, nn

from cir.models.combiners.features import normalised


class ReferenceOnly(nn.Module):
    """The reference image's own direction: what a query is without its text."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return normalised(image)


class TextOnly(nn.Module):
    """The text's own direction: what a query is without its reference."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return normalised(text)
