"""A gate over both modalities."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cir.models.combiners.features import normalised, require_widths, scaled


class AttentionFusionCombiner(nn.Module):
    """Weighs image against text in each hidden component.

    With x and y the scaled features of image and text:

        p = relu(W_i x), r = relu(W_t y)            projections to `hidden`
        g = sigmoid(W_g [p; r])                     a weight for each hidden component
        f = g * p + (1 - g) * r                     the fused vector
        q = normalise(W_o [f; p; r])                back to `dim`
    """

    def __init__(self, dim: int = 640, hidden: int = 512) -> None:
        """Initial weights drawn from torch's generator.

        Args:
            dim: Components of the features.
            hidden: Components of p, r and f.

        Raises:
            UsageError: a width is no whole number of at least 1.
        """
        super().__init__()
        require_widths(dim=dim, hidden=hidden)
        self.dim, self.hidden = dim, hidden
        self.project_image = nn.Linear(dim, hidden)
        self.project_text = nn.Linear(dim, hidden)
        self.gate = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(3 * hidden, dim)

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        projected_image = functional.relu(self.project_image(scaled(image)))
        projected_text = functional.relu(self.project_text(scaled(text)))
        both = torch.cat((projected_image, projected_text), dim=-1)
        fused = torch.lerp(projected_text, projected_image, torch.sigmoid(self.gate(both)))
        return normalised(self.output(torch.cat((fused, both), dim=-1)))
