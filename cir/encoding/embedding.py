"""Images and captions through the encoder, batch by batch."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from cir.data.image_batches import ImageBatch, image_batches
from cir.encoding.batching import images_at_once, padded_to, require_vectors, texts_at_once
from cir.encoding.encoder import Encoder
from cir.encoding.lanes import in_lanes
from cir.encoding.preprocess import ENOUGH
from cir.encoding.texts import encode_by_length
from cir.errors import ImageError
from cir.progress import SILENT, Progress


def image_vectors(
    encoder: Encoder,
    photos: Sequence[Path | Image.Image],
    *,
    batch_size: int,
    workers: int,
    progress: Progress = SILENT,
    of: int | None = None,
) -> Float[np.ndarray, "rows dim"]:
    """The encoder's output for each photo, not normalised.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        photos: Image files, or images that are decoded already.
        batch_size: Images encoded at once.
        workers: Processes that decode and preprocess; 0 does it in this one.
        progress: Told of every batch.
        of: How many photos there are, where these are one process's part of them.

    Raises:
        ImageError: a file cannot be read; the first in order is named.
        VectorError: an output has no direction.
    """
    names = [
        f"photo {row}" if isinstance(photo, Image.Image) else str(photo)
        for row, photo in enumerate(photos)
    ]
    rows = images_at_once(encoder, batch_size)
    batches, parts = spans_of(range(len(photos)), rows), []
    filled = rows if (of or len(photos)) > rows else 0
    with (
        progress.task("images", len(photos), "images") as task,
        closing(photos_of(encoder, photos, batches, workers)) as stream,
    ):
        for batch, vectors in encoded_photos(encoder, stream, names, len(batches), rows=filled):
            if batch.faults:
                raise ImageError(next(iter(batch.faults.values())))
            parts.append(vectors)
            task.advance(len(batch.rows))
    return stacked(parts, encoder.dim)


def caption_vectors(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    batch_size: int,
    progress: Progress = SILENT,
    of: int | None = None,
) -> Float[np.ndarray, "rows dim"]:
    """The encoder's output for each text, not normalised.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        texts: Cut at the model's context length.
        batch_size: Texts encoded at once.
        progress: Told of every batch.
        of: How many distinct texts there are, where these are one process's part of them.

    Raises:
        VectorError: an output has no direction.
    """
    distinct = list(dict.fromkeys(texts))
    row_of = {text: row for row, text in enumerate(distinct)}
    vectors = np.empty((len(distinct), encoder.dim), np.float32)
    rows = texts_at_once(encoder, batch_size)
    padded = (of or len(distinct)) > rows
    with progress.task("captions", len(distinct), "captions") as task:
        for some in encode_by_length(encoder, distinct, rows, padded=padded):
            vectors[some.rows] = some.vectors
            task.advance(len(some.rows))
    return vectors[[row_of[text] for text in texts]]


def photos_of(
    encoder: Encoder,
    photos: Sequence[Path | Image.Image],
    batches: Sequence[Sequence[int]],
    workers: int,
) -> Generator[ImageBatch, None, None]:
    """Reads batches of photos, as `Encoder.normalise` takes them.

    Args:
        encoder: Takes them.
        photos: Image files, or images that are decoded already.
        batches: Rows of `photos` for each batch.
        workers: Processes that decode and preprocess; 0 does it in this one.
    """
    return image_batches(
        photos,
        batches,
        encoder.to_pixels,
        workers=workers,
        pinned=encoder.device.type == "cuda",
        least=ENOUGH * encoder.image_size,
    )


def encoded_photos(
    encoder: Encoder, stream: Iterable[ImageBatch], names: Sequence[str], batches: int, *, rows: int
) -> Iterator[tuple[ImageBatch, Float[np.ndarray, "batch dim"]]]:
    """Batches with the vectors of their readable photos, in order.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        stream: Read by `photos_of`.
        names: What each row is called.
        batches: How many batches the stream gives.
        rows: Photos of a whole batch: a shorter one is filled up, so that it is computed alike.

    Raises:
        VectorError: an output has no direction.
    """

    def encode(batch: ImageBatch) -> tuple[ImageBatch, Float[np.ndarray, "batch dim"]]:
        return batch, encode_photos(encoder, filled_up(batch, rows), names)

    return in_lanes(encoder, encode, stream, batches)


def filled_up(photos: ImageBatch, rows: int) -> ImageBatch:
    """A batch with pixels of as many photos, so that it is computed as whole ones are."""
    return replace(photos, pixels=padded_to(photos.pixels, rows)) if photos.rows else photos


def encode_photos(
    encoder: Encoder, photos: ImageBatch, names: Sequence[str]
) -> Float[np.ndarray, "batch dim"]:
    """The vectors of a batch's readable photos.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        photos: Read by `photos_of`.
        names: What each row is called.
    """
    if not photos.rows:
        return stacked([], encoder.dim)
    with torch.inference_mode():
        encoded = encoder.encode_images(encoder.normalise(photos.pixels))[: len(photos.rows)]
    return require_vectors(encoded, [names[row] for row in photos.rows], encoder)


def stacked(parts: Sequence[Float[np.ndarray, "_ dim"]], dim: int) -> Float[np.ndarray, "rows dim"]:
    """All rows of `parts`; no parts are no rows."""
    return np.concatenate([np.zeros((0, dim), np.float32), *parts])


def spans_of(rows: range, length: int) -> list[range]:
    """Cuts a range into ranges of `length`, the last perhaps shorter."""
    return [rows[start : start + length] for start in range(0, len(rows), length)]
