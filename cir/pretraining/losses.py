"""The losses of pretraining: contrastive with several positives, and attributes of a photo."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from cir.pretraining.corpus import UNSTATED

_LABEL_SMOOTHING: Final = 0.1


class FacetClassifier(nn.Module):
    """A linear read-out a facet, from the direction of the image vector."""

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        """Makes the read-outs.

        Args:
            dim: Components of the image vectors.
            sizes: Values of each facet; where there is none, nothing is read out.
        """
        super().__init__()
        self.sizes = tuple(sizes)
        self.gain = dim**0.5
        self.read_out = nn.Linear(dim, sum(sizes)) if sizes else nn.Identity()

    def forward(
        self, images: Float[Tensor, "batch dim"], codes: Int[Tensor, "batch facets"]
    ) -> Float[Tensor, ""]:
        """Cross entropy summed over the facets a photo states; mean over the photos."""
        if not self.sizes:
            return images.new_zeros(())
        logits = self.read_out(functional.normalize(images, dim=-1) * self.gain)
        losses = [
            functional.cross_entropy(
                of_facet,
                code,
                ignore_index=UNSTATED,
                reduction="sum",
                label_smoothing=_LABEL_SMOOTHING,
            )
            for of_facet, code in zip(logits.split(self.sizes, dim=1), codes.unbind(1), strict=True)
        ]
        return torch.stack(losses).sum() / len(images)


def contrastive_loss(
    images: Float[Tensor, "batch dim"],
    texts: Float[Tensor, "batch dim"],
    positives: Bool[Tensor, "batch batch"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross entropy, all positives of a row sharing its target mass equally.

    Args:
        images: Image vectors.
        texts: Text vectors, one for each image.
        positives: [i, j]: text i fits image j; at least the diagonal.
        scale: What cosines are multiplied with.
    """
    logits = scale * functional.normalize(texts, dim=-1) @ functional.normalize(images, dim=-1).T
    wanted = positives.to(logits.dtype)
    by_text = functional.cross_entropy(logits, wanted / wanted.sum(dim=1, keepdim=True))
    by_image = functional.cross_entropy(logits.T, (wanted / wanted.sum(dim=0, keepdim=True)).T)
    return (by_text + by_image) / 2
