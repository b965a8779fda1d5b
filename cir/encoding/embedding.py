"""Images and captions through the encoder, batch by batch."""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cir.data.image_batches import ImageBatch, image_batches
from cir.encoding.encoder import Encoder
from cir.encoding.preprocess import ENOUGH
from cir.errors import ImageError, VectorError
from cir.progress import SILENT, Progress, Task

_NAMED = 3
"""Inputs named in an error that may concern many."""


def image_vectors(
    encoder: Encoder,
    photos: Sequence[Path | Image.Image],
    *,
    batch_size: int,
    workers: int,
    progress: Progress = SILENT,
) -> Float[np.ndarray, "rows dim"]:
    """The encoder's output for each photo, not normalised.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        photos: Image files, or images that are decoded already.
        batch_size: Images encoded at once.
        workers: Processes that decode and preprocess; 0 does it in this one.
        progress: Told of every batch.

    Raises:
        ImageError: a file cannot be read; the first in order is named.
        VectorError: an output has no direction.
    """
    names = [
        f"photo {row}" if isinstance(photo, Image.Image) else str(photo)
        for row, photo in enumerate(photos)
    ]
    batches, parts = spans_of(range(len(photos)), batch_size), []
    with (
        progress.task("images", len(photos), "images") as task,
        closing(photos_of(encoder, photos, batches, workers)) as stream,
    ):
        for batch in stream:
            if batch.faults:
                raise ImageError(next(iter(batch.faults.values())))
            parts.append(encode_photos(encoder, batch, names))
            task.advance(len(batch.rows))
    return stacked(parts, encoder.dim)


def caption_vectors(
    encoder: Encoder, texts: Sequence[str], *, batch_size: int, progress: Progress = SILENT
) -> Float[np.ndarray, "rows dim"]:
    """The encoder's output for each text, not normalised.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        texts: Cut at the model's context length.
        batch_size: Texts encoded at once.
        progress: Told of every batch.

    Raises:
        VectorError: an output has no direction.
    """
    with progress.task("captions", len(texts), "captions") as task:
        return encode_texts(encoder, texts, batch_size, task)


def photos_of(
    encoder: Encoder,
    photos: Sequence[Path | Image.Image],
    batches: Sequence[Sequence[int]],
    workers: int,
) -> Generator[ImageBatch, None, None]:
    """Reads batches of photos as `encoder` takes them; `batches` are rows of `photos`."""
    return image_batches(
        photos,
        batches,
        encoder.preprocess,
        workers=workers,
        pinned=encoder.device.type == "cuda",
        least=ENOUGH * encoder.image_size,
    )


def encode_photos(
    encoder: Encoder, photos: ImageBatch, names: Sequence[str]
) -> Float[np.ndarray, "batch dim"]:
    """The vectors of a batch's readable photos; `names` says what each row is called."""
    if not photos.rows:
        return stacked([], encoder.dim)
    with torch.inference_mode():
        encoded = encoder.encode_images(photos.pixels.to(encoder.device, non_blocking=True))
    return _checked(encoded, [names[row] for row in photos.rows], encoder)


def encode_texts(
    encoder: Encoder, texts: Sequence[str], batch_size: int, task: Task
) -> Float[np.ndarray, "rows dim"]:
    """The vectors of texts; `task`, which is under way, is told of every batch."""
    parts = []
    for span in spans_of(range(len(texts)), batch_size):
        some = texts[span.start : span.stop]
        with torch.inference_mode():
            encoded = encoder.encode_texts(encoder.tokenize(some).to(encoder.device))
        parts.append(_checked(encoded, some, encoder))
        task.advance(len(some))
    return stacked(parts, encoder.dim)


def stacked(parts: Sequence[Float[np.ndarray, "_ dim"]], dim: int) -> Float[np.ndarray, "rows dim"]:
    """All rows of `parts`; no parts are no rows."""
    return np.concatenate([np.zeros((0, dim), np.float32), *parts])


def spans_of(rows: range, length: int) -> list[range]:
    """Cuts a range into ranges of `length`, the last perhaps shorter."""
    return [rows[start : start + length] for start in range(0, len(rows), length)]


def _checked(
    encoded: Float[Tensor, "batch dim"], names: Sequence[str], encoder: Encoder
) -> Float[np.ndarray, "batch dim"]:
    """The vectors on the CPU; raises VectorError, naming the input, where one has no direction."""
    vectors: Float[np.ndarray, "batch dim"] = encoded.float().cpu().numpy()
    norms = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if wrong.size:
        named = ", ".join(repr(names[row]) for row in wrong[:_NAMED])
        raise VectorError(
            f"{encoder.provenance.model} in {encoder.precision} gives NaN, infinite or all-zero "
            f"vectors for {wrong.size} of a batch of {len(names)}, as for {named}: "
            "pass `precision='fp32'`, or other `weights`"
        )
    return vectors
