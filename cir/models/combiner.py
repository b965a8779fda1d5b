"""Combiners: a reference's and a text's features become one query vector.

All have one signature: `forward(image, text)` takes the encoder's raw outputs and returns unit
vectors. Encoders differ in the length of their features, and a tuned one drifts; so every combiner
starts by giving each feature a root mean square of one, and only its direction counts.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cir.errors import UsageError

_DROPOUT = 0.5
_PROJECTION_FACTOR = 4
_HIDDEN_FACTOR = 8
"""CLIP4Cir's widths at 640-d features: projection 2560, hidden 5120."""


class AttentionFusionCombiner(nn.Module):
    """A gate over both modalities.

    With x and y the scaled features of image and text:

        p = relu(W_i x), r = relu(W_t y)            projections to `hidden`
        g = sigmoid(W_g [p; r])                     a weight for each hidden component
        f = g * p + (1 - g) * r                     the fused vector
        q = normalise(W_o [f; p; r])                back to `dim`
    """

    def __init__(self, dim: int = 640, hidden: int = 512) -> None:
        super().__init__()
        self.project_image = nn.Linear(dim, hidden)
        self.project_text = nn.Linear(dim, hidden)
        self.gate = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(3 * hidden, dim)

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        projected_image = functional.relu(self.project_image(_scaled(image)))
        projected_text = functional.relu(self.project_text(_scaled(text)))
        both = torch.cat((projected_image, projected_text), dim=-1)
        fused = torch.lerp(projected_text, projected_image, torch.sigmoid(self.gate(both)))
        return _normalised(self.output(torch.cat((fused, both), dim=-1)))


class Clip4CirCombiner(nn.Module):
    """The Combiner network of Baldrati et al., CLIP4Cir (CVPR 2022 workshops, figure 3).

    Two branches are projected, concatenated and mixed; the result is added to a convex combination
    of the two features themselves, whose weight is learned from the same concatenation. The
    published network takes raw features of RN50x4; here they are scaled first, as everywhere.
    """

    def __init__(self, dim: int = 640, projection: int = 2560, hidden: int = 5120) -> None:
        super().__init__()
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
        image, text = _scaled(image), _scaled(text)
        both = torch.cat((self.project_text(text), self.project_image(image)), dim=-1)
        residual = torch.lerp(image, text, self.share_of_text(both).float())
        return _normalised(self.output(self.mix(both)) + residual)


class SumCombiner(nn.Module):
    """normalise(normalise(image) + normalise(text)): nothing to learn."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return _normalised(_normalised(image) + _normalised(text))


class ReferenceOnly(nn.Module):
    """The reference image's own direction: what a query is without its text."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return _normalised(image)


class TextOnly(nn.Module):
    """The text's own direction: what a query is without its reference."""

    def forward(
        self, image: Float[Tensor, "batch dim"], text: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """The composed query."""
        return _normalised(text)


_BY_NAME: dict[str, Callable[[int, int], nn.Module]] = {
    "attention-fusion": AttentionFusionCombiner,
    "clip4cir": lambda dim, _: Clip4CirCombiner(
        dim, projection=_PROJECTION_FACTOR * dim, hidden=_HIDDEN_FACTOR * dim
    ),
    "sum": lambda *_: SumCombiner(),
}


def build_combiner(name: str, *, dim: int, hidden: int) -> nn.Module:
    """A combiner with initial weights drawn from torch's generator.

    Args:
        name: attention-fusion, clip4cir or sum.
        dim: Components of the features.
        hidden: Inner width of attention-fusion; clip4cir's widths follow from `dim`.

    Raises:
        UsageError: there is no combiner of that name.
    """
    if name not in _BY_NAME:
        raise UsageError(f"no combiner {name!r}: expected one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name](dim, hidden)


def _branch(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(_DROPOUT))


def _normalised(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Unit vectors, in float32 whatever the arithmetic before."""
    return functional.normalize(vectors.float(), dim=-1)


def _scaled(vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Vectors whose components have a root mean square of one."""
    return _normalised(vectors) * math.sqrt(vectors.shape[-1])
