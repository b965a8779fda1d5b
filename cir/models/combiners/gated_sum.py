"""The plain sum, and a learned departure from it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cir import arguments
from cir.models.combiners.features import normalised, require_widths, scaled
from cir.models.dropout import Dropout


class GatedSumCombiner(nn.Module):
    """Starts exactly as a sum, and learns where a text needs more than being added.

    With x and y the scaled features of image and text:

        h = gelu(layer_norm(W_h [x; y]))            what the two say together, in `hidden`
        [a; b; c] = W_o h                           at first a, b of the sum, and c of zero
        q = normalise((1 + a) * x + (1 + b) * y + c)

    a and b weigh each component: a text that asks for another colour takes the reference's colour
    away and leaves its shape. c adds what neither has. As in zero-initialised residual branches
    (Goyal et al., 2017, section 5.1), training starts from the query that needs none.
    Frozen features of a few thousand images are soon known by heart, so while training both
    features and h lose components by dropout. The sum itself is never dropped.
    """

    def __init__(
        self, dim: int = 640, hidden: int = 512, dropout: float = 0.0, text_share: float = 0.5
    ) -> None:
        """Initial weights drawn from torch's generator; those of W_o are zero.

        Args:
            dim: Components of the features.
            hidden: Components of h.
            dropout: Share of the components of x, y and h that are dropped while training.
            text_share: w, where 1 + a begins at 2 (1 - w) and 1 + b at 2 w: of the plain sum 0.5.

        Raises:
            UsageError: a width is no whole number of at least 1, or the share not 0 to below 1,
                or the text's not 0 to 1.
        """
        super().__init__()
        require_widths(dim=dim, hidden=hidden)
        self.dim, self.hidden = dim, hidden
        self.mix = nn.Linear(2 * dim, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.depart = nn.Linear(hidden, 3 * dim)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.depart.weight)
        nn.init.zeros_(self.depart.bias)
        lean = 2 * arguments.real("text_share", text_share, 0, 1) - 1
        with torch.no_grad():
            self.depart.bias[:dim] = -lean
            self.depart.bias[dim : 2 * dim] = lean

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        image, text = scaled(image), scaled(text)
        seen = self.dropout(torch.cat((image, text), dim=-1))
        both = functional.gelu(self.norm(self.mix(seen)))
        weigh_image, weigh_text, added = self.depart(self.dropout(both)).float().chunk(3, dim=-1)
        return normalised((1 + weigh_image) * image + (1 + weigh_text) * text + added)
