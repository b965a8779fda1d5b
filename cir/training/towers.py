"""Where a training step's features come from: vectors of the store, or a tower being tuned.

A tower that is not tuned gives the precomputed vectors: nothing is decoded, tokenised or encoded.
A tuned one encodes every distinct image or text of a batch once, with gradients. The encoder stays
in evaluation mode all the while, so that the statistics of its BatchNorm layers keep what
pretraining gathered: batches of fine-tuning are too small and too alike to replace them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from cir.data.images import read_image
from cir.encoding.encoder import Encoder
from cir.errors import ImageError

_CHUNK = 32
"""Images that a worker decodes at once."""


@runtime_checkable
class Features(Protocol):
    """The features of one step's images or texts, by row of the store's table."""

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]: ...


@runtime_checkable
class Tower(Protocol):
    """Gives the features of an epoch, step by step."""

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """One `Features` a step, which knows at least the rows wanted of that step."""


class FrozenTower:
    """Vectors of the store, kept on the device."""

    def __init__(self, vectors: Float[np.ndarray, "rows dim"], device: torch.device) -> None:
        self._vectors = torch.from_numpy(vectors).to(device)

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """The same table for every step."""
        return (self._gather for _ in wanted)

    def _gather(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        return self._vectors[torch.from_numpy(rows).to(self._vectors.device)]


class TextTower:
    """The text tower, tuned: every distinct text of a step is encoded."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self._encoder = encoder
        self._tokens = encoder.tokenize(texts)

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """Encodes when its turn comes, with the weights of that moment."""
        for rows in wanted:
            distinct = np.unique(rows)
            tokens = self._tokens[torch.from_numpy(distinct)].to(self._encoder.device)
            yield _Encoded(distinct, self._encoder.encode_texts(tokens))


class ImageTower:
    """The image tower, tuned: every distinct image of a step is decoded by workers and encoded."""

    def __init__(self, encoder: Encoder, files: Sequence[Path], workers: int) -> None:
        """Prepares to decode.

        Args:
            encoder: Its image tower is tuned.
            files: The image file of each row of the store's table.
            workers: Processes that decode; 0 decodes in this one.
        """
        self._encoder = encoder
        self._photos = _Photos(files, encoder.preprocess)
        self._workers = workers

    def steps(self, wanted: Sequence[Int64[np.ndarray, " _"]]) -> Iterator[Features]:
        """Workers decode ahead; a step's images are encoded when its turn comes."""
        distinct = [np.unique(rows) for rows in wanted]
        chunks = [_chunks(rows) for rows in distinct]
        decoded = iter(self._loader([chunk for of_step in chunks for chunk in of_step]))
        for rows, of_step in zip(distinct, chunks, strict=True):
            pixels = torch.cat([_pixels(photos) for photos in islice(decoded, len(of_step))])
            pixels = pixels.to(self._encoder.device, non_blocking=True)
            yield _Encoded(rows, self._encoder.encode_images(pixels))

    def _loader(self, chunks: list[list[int]]) -> Iterable[Tensor | str]:
        return DataLoader(
            self._photos,
            batch_size=None,
            sampler=chunks,
            num_workers=self._workers,
            pin_memory=self._encoder.device.type == "cuda",
            generator=torch.Generator(),  # or the workers' seeds would be drawn from dropout's
        )


class _Encoded:
    """Features that were encoded for one step."""

    def __init__(
        self, rows: Int64[np.ndarray, " distinct"], features: Float[Tensor, "distinct dim"]
    ) -> None:
        self._rows = rows
        self._features = features

    def __call__(self, rows: Int64[np.ndarray, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """An embedding look-up, whose backward adds up in a fixed order, unlike indexing's."""
        places = torch.from_numpy(np.searchsorted(self._rows, rows)).to(self._features.device)
        return functional.embedding(places, self._features)


class _Photos(Dataset[Tensor | str]):
    """Chunks of decoded and preprocessed images, by rows of the store's table."""

    def __init__(
        self,
        files: Sequence[Path],
        preprocess: Callable[[Image.Image], Float[Tensor, "3 size size"]],
    ) -> None:
        self._files = files
        self._preprocess = preprocess

    def __getitem__(self, rows: list[int]) -> Float[Tensor, "chunk 3 size size"] | str:
        """The images of `rows`, or the fault of one: a worker's exception would lose its class."""
        try:
            return torch.stack([self._preprocess(read_image(self._files[row])) for row in rows])
        except ImageError as fault:
            return str(fault)


def _pixels(photos: Tensor | str) -> Float[Tensor, "chunk 3 size size"]:
    if isinstance(photos, str):
        raise ImageError(photos)
    return photos


def _chunks(rows: Int64[np.ndarray, " _"]) -> list[list[int]]:
    return [rows[start : start + _CHUNK].tolist() for start in range(0, len(rows), _CHUNK)]
