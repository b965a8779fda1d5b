"""Where the features of a training step come from: the store's vectors, or a tower being tuned.

A `Tower` gives the `Features` of an epoch, step by step; `Features` gives vectors by row of the
store's table, and carries the gradient back into the tower. A tower that is not tuned gives the
store's vectors: nothing is decoded, tokenised or encoded. A tuned one encodes every distinct image
or text of a batch once, with gradients. The encoder stays in evaluation mode all the while, so that
the statistics of its BatchNorm layers keep what pretraining gathered: batches of fine-tuning are
too small and too alike to replace them.

Features that are encoded all at once are part of the loss's graph. Those encoded in chunks are not:
the loss's own backward ends at them, and `Features.backward` takes the gradient on, a chunk at a
time, so that the memory of the tower's activations is that of a chunk, however large the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from cir.data.image_batches import ImageBatch
from cir.encoding.batching import texts_at_once
from cir.encoding.embedding import photos_of
from cir.encoding.encoder import Encoder
from cir.errors import ImageError
from cir.machine.runtime import sent, upload

Encode = Callable[[Tensor], Tensor]
"""An encoder's tower: inputs on its device to their vectors."""
Chunk = Sequence[Tensor]
"""Inputs that are encoded together, in the parts that they came in: a row an input."""
LastPass = Callable[[], AbstractContextManager[None]]
"""Makes what surrounds a pass."""
Rows = Int64[np.ndarray, " _"]
"""Rows of the store's table."""
ChunkedRows = list[list[Rows]]
"""A step's rows, by the chunks that are encoded at once, each by the parts that are decoded."""

_DECODED_AT_ONCE = 32
"""Images that a worker decodes at once; it is at most two such parts ahead."""


@runtime_checkable
class Features(Protocol):
    """The features of one step's images or texts."""

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """The vectors of some rows of the store's table."""

    def backward(self, last: LastPass = nullcontext) -> None:
        """Takes the gradient on into the tower, once the loss's own backward has run.

        Args:
            last: Surrounds the pass that completes the gradients of the tower's parameters.
        """


class StoredFeatures:
    """Vectors of the whole table; they get no gradient."""

    def __init__(self, vectors: Float[Tensor, "table dim"]) -> None:
        self._vectors = vectors

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        return self._vectors[upload(rows, self._vectors.device)]

    def backward(self, last: LastPass = nullcontext) -> None:
        """Nothing: there is no tower behind them."""


class EncodedFeatures:
    """Features encoded for one step, as part of the loss's graph."""

    def __init__(
        self, rows: Int64[np.ndarray, " distinct"], features: Float[Tensor, "distinct dim"]
    ) -> None:
        """Keeps the features of some rows of the store, which may be in any order."""
        self._order = np.argsort(rows)
        self._rows = rows[self._order]
        self._features = features

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """An embedding look-up, whose backward adds up in a fixed order, unlike indexing's."""
        found = self._order[np.searchsorted(self._rows, rows)]
        indices = upload(found, self._features.device)
        return functional.embedding(indices, self._features)

    def backward(self, last: LastPass = nullcontext) -> None:
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
            rows: The rows of the store that the inputs of the chunks belong to, in their order.
            chunks: The inputs, in the memory of the processor.
            encode: The tower.
            device: Where it runs.
        """
        with torch.no_grad():
            features = torch.cat([encode(joined_chunk(chunk, device)) for chunk in chunks])
        super().__init__(rows, features.requires_grad_())
        self._chunks, self._encode, self._device = chunks, encode, device

    def backward(self, last: LastPass = nullcontext) -> None:
        """Encodes rows with a gradient again; one at least, so that every parameter gets one."""
        gradient = self._features.grad
        if gradient is None:
            return
        moved = gradient.any(dim=1).cpu().numpy()
        moved[0] = True
        parts = [part for part in self._parts(moved) if len(part.rows)]
        for part in parts:
            rows, of_gradient = (
                upload(each, self._device) for each in (part.rows, part.start + part.rows)
            )
            encoded = self._encode(joined_chunk(part.chunk, self._device)[rows])
            with last() if part is parts[-1] else nullcontext():
                torch.autograd.backward(encoded, gradient[of_gradient])
        self._chunks = []

    def _parts(self, moved: Bool[np.ndarray, " distinct"]) -> Iterator["_Part"]:
        """Each chunk, and which of its rows have moved."""
        start = 0
        for chunk in self._chunks:
            length = sum(map(len, chunk))
            yield _Part(chunk, start, np.flatnonzero(moved[start : start + length]))
            start += length


@dataclass(frozen=True)
class _Part:
    """Some rows of a chunk."""

    chunk: Chunk
    start: int
    """Rows of the chunks before it."""
    rows: Int64[np.ndarray, " part"]


@runtime_checkable
class Tower(Protocol):
    """Gives the features of an epoch, step by step."""

    def steps(self, rows_of_steps: Sequence[Rows]) -> Iterator[Features]:
        """One `Features` a step, which has at least the rows of that step."""


class FrozenTower:
    """Vectors of the store, kept on the device."""

    def __init__(self, vectors: Float[np.ndarray, "rows dim"], device: torch.device) -> None:
        self._features = StoredFeatures(torch.from_numpy(vectors).to(device))

    def steps(self, rows_of_steps: Sequence[Rows]) -> Iterator[Features]:
        """The same table for every step."""
        return (self._features for _ in rows_of_steps)


class TextTower:
    """The text tower, tuned: every distinct text of a step is encoded.

    Texts of like length go together, none further than the longest of them: the vectors are those
    of the whole context within rounding, and most of it is padding.
    """

    def __init__(
        self, encoder: Encoder, texts: Sequence[str], encode_batch: int | None = None
    ) -> None:
        """Tokenises every text.

        Args:
            encoder: Its text tower is tuned.
            texts: The text of each row of the store's table.
            encode_batch: Texts encoded at once, at most; None keeps one graph of a step's.
        """
        self._encoder = encoder
        self._tokens = encoder.tokenize(texts)
        self._ends = encoder.text_ends(self._tokens).numpy()
        self._encode_batch = encode_batch

    def steps(self, rows_of_steps: Sequence[Rows]) -> Iterator[Features]:
        """Encodes when its turn comes, with the weights of that moment."""
        for distinct in map(np.unique, rows_of_steps):
            rows = distinct[np.argsort(self._ends[distinct], kind="stable")]
            cached = self._encode_batch is not None and len(rows) > self._encode_batch
            at_once = self._encode_batch if cached else texts_at_once(self._encoder, len(rows))
            chunks = [[self._beginnings(part)] for part in _cut(rows, at_once)]
            encode, device = self._encoder.encode_texts, self._encoder.device
            yield _encoded(rows, chunks, encode, device, cached=cached)

    def _beginnings(self, rows: Rows) -> Tensor:
        """(texts, context) tokens of some texts, as far as the longest goes."""
        tokens: Tensor = self._tokens[torch.from_numpy(rows), : int(self._ends[rows].max())]
        return tokens


class ImageTower:
    """The image tower, tuned: every distinct image of a step is decoded by workers and encoded."""

    def __init__(
        self,
        encoder: Encoder,
        files: Sequence[Path],
        workers: int,
        encode_batch: int | None = None,
    ) -> None:
        """Prepares to decode.

        Args:
            encoder: Its image tower is tuned.
            files: The image file of each row of the store's table.
            workers: Processes that decode; 0 decodes in this one.
            encode_batch: Images encoded at once, at most; None encodes a step's all at once.
        """
        self._encoder = encoder
        self._files = files
        self._workers = workers
        self._encode_batch = encode_batch

    def steps(self, rows_of_steps: Sequence[Rows]) -> Iterator[Features]:
        """Workers decode ahead; a step's images are encoded when its turn comes."""
        distinct = [np.unique(rows) for rows in rows_of_steps]
        steps = [self._parts(rows) for rows in distinct]
        in_order = [part.tolist() for step in steps for chunk in step for part in chunk]
        with closing(photos_of(self._encoder, self._files, in_order, self._workers)) as photos:
            for rows, step in zip(distinct, steps, strict=True):
                yield self._features(rows, step, photos)

    def _features(
        self,
        rows: Int64[np.ndarray, " distinct"],
        chunked: ChunkedRows,
        photos: Iterator[ImageBatch],
    ) -> Features:
        chunks = [[_pixels(next(photos)) for _ in chunk] for chunk in chunked]
        device, cached = self._encoder.device, len(chunks) > 1
        return _encoded(rows, chunks, self._encode, device, cached=cached)

    def _encode(self, pixels: UInt8[Tensor, "chunk size size 3"] | Tensor) -> Tensor:
        """Normalised where it is encoded: what is sent there is a byte a colour."""
        return self._encoder.encode_images(self._encoder.normalise(pixels))

    def _parts(self, rows: Int64[np.ndarray, " distinct"]) -> ChunkedRows:
        return [_cut(chunk, _DECODED_AT_ONCE) for chunk in _cut(rows, self._encode_batch)]


@dataclass(frozen=True)
class Towers:
    """The towers that features of images and of texts come from."""

    images: Tower
    texts: Tower

    @property
    def decodes_images(self) -> bool:
        """Whether every step decodes its images."""
        return isinstance(self.images, ImageTower)


def _encoded(
    rows: Int64[np.ndarray, " distinct"],
    chunks: Sequence[Chunk],
    encode: Encode,
    device: torch.device,
    *,
    cached: bool,
) -> Features:
    """Features in the loss's graph, or cached."""
    if cached:
        return CachedFeatures(rows, chunks, encode, device)
    encoded = [encode(joined_chunk(chunk, device)) for chunk in chunks]
    return EncodedFeatures(rows, torch.cat(encoded))


def _pixels(photos: ImageBatch) -> Tensor:
    if photos.faults:
        raise ImageError(next(iter(photos.faults.values())))
    return photos.pixels


def _cut(rows: Rows, length: int | None) -> list[Rows]:
    """Rows cut into parts of `length`, the last perhaps shorter; None does not cut."""
    length = length or len(rows)
    return [rows[start : start + length] for start in range(0, len(rows), length)]


def joined_chunk(chunk: Chunk, device: torch.device) -> Tensor:
    """The parts of a chunk as one tensor on `device`."""
    return torch.cat([sent(part, device) for part in chunk])
