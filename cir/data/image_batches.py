"""Photos decoded and preprocessed by worker processes, batch by batch, the broken ones named."""

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cir.data.images import decode_image, image_bytes, upright
from cir.errors import CirError, ImageError

Preprocessing = Callable[[Image.Image], Float[Tensor, "3 size size"]]
"""From an RGB photo to what the encoder takes; workers receive it, so it can be pickled."""

_WORKER_DIED = "DataLoader worker"
"""How torch's message begins when a worker was killed; any other RuntimeError is a bug."""


@dataclass(frozen=True)
class ImageBatch:
    """Photos of one batch; the broken ones are told apart."""

    rows: tuple[int, ...]
    """Which photos could be read."""
    pixels: Tensor
    """(len(rows), 3, size, size), the readable photos; empty where none is."""
    sha256: tuple[str, ...]
    """SHA-256 of each readable file; empty for an image that came decoded."""
    faults: dict[int, str]
    """Rows that could not be read, with one line that says why."""

    def pin_memory(self) -> "ImageBatch":
        """Called by the DataLoader, so that the copy to the GPU runs beside its work."""
        return replace(self, pixels=self.pixels.pin_memory())


def image_batches(
    photos: Sequence[Path | Image.Image],
    batches: Sequence[Sequence[int]],
    preprocess: Preprocessing,
    *,
    workers: int,
    pinned: bool,
) -> Generator[ImageBatch, None, None]:
    """Reads the photos of each batch, in order, ahead of the caller.

    Args:
        photos: Image files, or images that are decoded already.
        batches: Rows of `photos` for each batch.
        preprocess: Applied to each photo by the worker.
        workers: Processes; 0 reads in this one.
        pinned: Whether pixels go to page-locked memory.

    Raises:
        CirError: a worker was killed.
    """
    loader: DataLoader[Any] = DataLoader(
        _Photos(photos, preprocess),
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of rows will do
        num_workers=workers if batches else 0,
        collate_fn=_collated,
        pin_memory=pinned,
        worker_init_fn=_apart,
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    stream = iter(loader)
    try:
        yield from stream
    except RuntimeError as fault:
        if not str(fault).startswith(_WORKER_DIED):
            raise
        line = str(fault).splitlines()[0]
        raise CirError(f"{line}; pass a smaller --batch-size or --workers 0") from fault
    finally:
        del stream  # the last reference: ends the workers now, not when a traceback is let go


def _apart(_: int) -> None:
    """Leaves the caller's group: what a terminal sends to all of it is the caller's to answer."""
    os.setsid()


@dataclass(frozen=True)
class _Photo:
    row: int
    pixels: Tensor | None
    sha256: str
    fault: str


class _Photos(TorchDataset[_Photo]):
    """Decodes one file; its fault is a value, so that no worker dies of it."""

    def __init__(self, photos: Sequence[Path | Image.Image], preprocess: Preprocessing) -> None:
        self._photos, self._preprocess = photos, preprocess

    def __getitem__(self, row: int) -> _Photo:
        path = self._photos[row]
        if isinstance(path, Image.Image):
            return _Photo(row, self._preprocess(upright(path)), "", "")
        try:
            encoded = image_bytes(path)
            pixels = self._preprocess(decode_image(encoded, path))
        except ImageError as fault:
            return _Photo(row, None, "", str(fault))
        return _Photo(row, pixels, hashlib.sha256(encoded).hexdigest(), "")


def _collated(photos: Sequence[_Photo]) -> ImageBatch:
    pixels = [photo.pixels for photo in photos if photo.pixels is not None]
    return ImageBatch(
        rows=tuple(photo.row for photo in photos if not photo.fault),
        pixels=torch.stack(pixels) if pixels else torch.empty(0),
        sha256=tuple(photo.sha256 for photo in photos if not photo.fault),
        faults={photo.row: photo.fault for photo in photos if photo.fault},
    )
