"""Where a training step's features come from: vectors of the store, or a tower being tuned.

A tower that is not tuned gives the precomputed vectors: nothing is decoded, tokenised or encoded.
A tuned one encodes every distinct image or text of a batch once, with gradients. The encoder stays
in evaluation mode all the while, so that the statistics of its BatchNorm layers keep what
pretraining gathered: batches of fine-tuning are too small and too alike to replace them.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cir.data.image_batches import ImageBatch
from cir.encoding.embedding import photos_of
from cir.encoding.encoder import Encoder
from cir.errors import ImageError
from cir.training.features import (
    CachedFeatures,
    Chunk,
    Encode,
    EncodedFeatures,
    StoredFeatures,
    joined,
)
from cir.training.features import Features as Features

_DECODED = 32
"""Images that a worker decodes at once; it is at most two such parts ahead."""
Cut = list[list[Int64[np.ndarray, " _"]]]
"""A step's rows: in the chunks that they are encoded in, each in the parts that they come in."""


@runtime_checkable
class Tower(Protocol):
    """Gives the features of an epoch, step by step."""

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """One `Features` a step, which knows at least the rows wanted of that step."""


class FrozenTower:
    """Vectors of the store, kept on the device."""

    def __init__(self, vectors: Float[np.ndarray, "rows dim"], device: torch.device) -> None:
        self._features = StoredFeatures(torch.from_numpy(vectors).to(device))

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """The same table for every step."""
        return (self._features for _ in wanted)


class TextTower:
    """The text tower, tuned: every distinct text of a step is encoded."""

    def __init__(
        self, encoder: Encoder, texts: Sequence[str], encode_batch: int | None = None
    ) -> None:
        """Tokenises every text.

        Args:
            encoder: Its text tower is tuned.
            texts: The text of each row of the store's table.
            encode_batch: Texts encoded at once, at most; None encodes a step's all at once.
        """
        self._encoder = encoder
        self._tokens = encoder.tokenize(texts)
        self._encode_batch = encode_batch

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """Encodes when its turn comes, with the weights of that moment."""
        for rows in map(np.unique, wanted):
            cut = _cut(rows, self._encode_batch)
            chunks = [[self._tokens[torch.from_numpy(part)]] for part in cut]
            yield _encoded(rows, chunks, self._encoder.encode_texts, self._encoder.device)


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

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """Workers decode ahead; a step's images are encoded when its turn comes."""
        distinct = [np.unique(rows) for rows in wanted]
        steps = [self._parts(rows) for rows in distinct]
        in_order = [part.tolist() for step in steps for chunk in step for part in chunk]
        with closing(photos_of(self._encoder, self._files, in_order, self._workers)) as photos:
            for rows, step in zip(distinct, steps, strict=True):
                yield self._features(rows, step, photos)

    def _features(
        self, rows: Int64[np.ndarray, " distinct"], step: Cut, photos: Iterator[ImageBatch]
    ) -> Features:
        chunks = [[_pixels(next(photos)) for _ in chunk] for chunk in step]
        return _encoded(rows, chunks, self._encoder.encode_images, self._encoder.device)

    def _parts(self, rows: Int64[np.ndarray, " distinct"]) -> Cut:
        return [_cut(chunk, _DECODED) for chunk in _cut(rows, self._encode_batch)]


def _encoded(
    rows: Int64[np.ndarray, " distinct"],
    chunks: Sequence[Chunk],
    encode: Encode,
    device: torch.device,
) -> Features:
    """Features in the loss's graph where all fit into one chunk, else cached."""
    if len(chunks) > 1:
        return CachedFeatures(rows, chunks, encode, device)
    return EncodedFeatures(rows, encode(joined(chunks[0], device)))


def _pixels(photos: ImageBatch) -> Float[Tensor, "part 3 size size"]:
    if photos.faults:
        raise ImageError(next(iter(photos.faults.values())))
    return photos.pixels


def _cut(rows: Int64[np.ndarray, " _"], length: int | None) -> list[Int64[np.ndarray, " _"]]:
    """Rows cut into parts of `length`, the last perhaps shorter; None does not cut."""
    length = length or len(rows)
    return [rows[start : start + length] for start in range(0, len(rows), length)]
