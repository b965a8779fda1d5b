"""The Combiner network of CLIP4Cir."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cir.models.combiners.features import normalised, require_widths, scaled
from cir.models.dropout import Dropout

_DROPOUT = 0.5
_PROJECTION_FACTOR = 4
_HIDDEN_FACTOR = 8
"""The published widths at 640-d features: projection 2560, hidden 5120."""


class Clip4CirCombiner(nn.Module):
    """Baldrati et al., CLIP4Cir (CVPR 2022 workshops, figure 3).

    With x and y the features of image and text, and dropout of 0.5 after each relu:

        b = [relu(W_t y); relu(W_i x)]              both projections
        s = sigmoid(w · relu(W_s b))                the share of the text, one number a query
        q = normalise(W_o relu(W_m b) + s y + (1 - s) x)

    The features are scaled first, as everywhere here; the published network takes them raw.
    """

    def __init__(
        self,
        dim: int = 640,
        projection: int | None = None,
        hidden: int | None = None,
        *,
        scale: bool = True,
    ) -> None:
        """Initial weights drawn from torch's generator.

        Args:
            dim: Components of the features.
            projection: Components of each projection; four times `dim` by default, as published.
            hidden: Width of the mixture; eight times `dim` by default, as published.
            scale: Whether features are scaled first. Weights of the published network were trained
                on raw ones.

        Raises:
            UsageError: a width is no whole number of at least 1.
        """
        super().__init__()
        require_widths(dim=dim)
        projection = _PROJECTION_FACTOR * dim if projection is None else projection
        hidden = _HIDDEN_FACTOR * dim if hidden is None else hidden
        require_widths(projection=projection, hidden=hidden)
        self.dim, self.projection, self.hidden = dim, projection, hidden
        self.scale = scale
        self.project_image = _branch(dim, projection)
        self.project_text = _branch(dim, projection)
        self.mix = _branch(2 * projection, hidden)
        self.output = nn.Linear(hidden, dim)
        self.share_of_text = nn.Sequential(
            _branch(2 * projection, hidden), nn.Linear(hidden, 1), nn.Sigmoid()
        )

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        if self.scale:
            image, text = scaled(image), scaled(text)
        both = torch.cat((self.project_text(text), self.project_image(image)), dim=-1)
        residual = torch.lerp(image, text, self.share_of_text(both).float())
        return normalised(self.output(self.mix(both)) + residual)


def _branch(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), Dropout(_DROPOUT))
