"""The plain sum."""

from jaxtyping import Float
from torch import Tensor, nn

from cir.models.combiners.features import normalised


class SumCombiner(nn.Module):
    """normalise(normalise(image) + normalise(text)): nothing to learn."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return normalised(normalised(image) + normalised(text))
