"""The features of one training step, by row of the store's table, and their way back.

Those that are encoded at once are part of the loss's graph. Those that are encoded in chunks are
not: the loss's own backward ends at them, and `backward` takes it on, a chunk at a time, so that
the memory of the tower's activations is that of a chunk, however large the batch.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

Encode = Callable[[Tensor], Tensor]
"""An encoder's tower: inputs on its device to their vectors."""
Chunk = Sequence[Tensor]
"""Inputs that are encoded together, in the parts that they came in: a row an input."""


@runtime_checkable
class Features(Protocol):
    """The features of one step's images or texts, by row of the store's table."""

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]: ...

    def backward(self) -> None:
        """Takes the gradient on into the tower, once the loss's own backward has run."""


class StoredFeatures:
    """Vectors of the whole table; they get no gradient."""

    def __init__(self, vectors: Float[Tensor, "table dim"]) -> None:
        self._vectors = vectors

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        return self._vectors[torch.from_numpy(rows).to(self._vectors.device)]

    def backward(self) -> None:
        """Nothing: there is no tower behind them."""


class EncodedFeatures:
    """Features encoded for one step, as part of the loss's graph."""

    def __init__(
        self, rows: Int64[np.ndarray, " distinct"], features: Float[Tensor, "distinct dim"]
    ) -> None:
        self._rows = rows
        self._features = features

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """An embedding look-up, whose backward adds up in a fixed order, unlike indexing's."""
        places = torch.from_numpy(np.searchsorted(self._rows, rows)).to(self._features.device)
        return functional.embedding(places, self._features)

    def backward(self) -> None:
        """Nothing: the loss's backward went through the tower."""


class CachedFeatures(EncodedFeatures):
    """Features encoded chunk by chunk without a graph, and again with one on the way back.

    GradCache (Gao, Zhang, Han and Callan, Scaling Deep Contrastive Learning Batch Size under
    Memory Limited Setup, RepL4NLP 2021, section 3): the loss's gradient with respect to each
    feature is kept; a chunk encoded again with a graph then gives its part of the parameters'
    gradient, and the parts add up to that of the whole batch. Both encodings agree because the
    encoder is in evaluation mode: nothing in it is drawn at random or depends on its batch.
    """

    def __init__(
        self,
        rows: Int64[np.ndarray, " distinct"],
        chunks: Sequence[Chunk],
        encode: Encode,
        device: torch.device,
    ) -> None:
        """Encodes every chunk.

        Args:
            rows: What the features of the chunks, one after the other, are called.
            chunks: The inputs, in the memory of the processor.
            encode: The tower.
            device: Where it runs.
        """
        with torch.no_grad():
            features = torch.cat([encode(joined(chunk, device)) for chunk in chunks])
        super().__init__(rows, features.requires_grad_())
        self._chunks, self._encode, self._device = chunks, encode, device

    def backward(self) -> None:
        """Encodes again what has a gradient; one row at least, so that every parameter gets one."""
        gradient = self._features.grad
        if gradient is None:
            return
        moved = gradient.any(dim=1)
        moved[0] = True
        start = 0
        for chunk in self._chunks:
            rows = slice(start, start + sum(map(len, chunk)))
            kept = moved[rows]
            if kept.any():
                encoded = self._encode(joined(chunk, self._device)[kept])
                torch.autograd.backward(encoded, gradient[rows][kept])
            start = rows.stop
        self._chunks = []


def joined(chunk: Chunk, device: torch.device) -> Tensor:
    """The parts of a chunk as one tensor on `device`."""
    return torch.cat([part.to(device, non_blocking=True) for part in chunk])
