"""Images decoded and preprocessed by worker processes, batch by batch; broken ones are named."""

import hashlib
import os
import signal
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cir.data.images import as_read, decode_image, image_bytes
from cir.errors import CirError, ImageError, StorageError, printable
from cir.machine.lifeline import Lifeline, hang_on

Preprocessing = Callable[[Image.Image], Float[Tensor, "3 size size"]]
"""From an RGB image to what the encoder takes; worker processes receive it, so pickle takes it."""

_WORKER_DIED = "DataLoader worker"
"""How torch's message begins when a worker was killed; any other RuntimeError is a bug."""
_SHARED: Final = Path("/dev/shm")  # noqa: S108  # asked for its size alone
"""Where Linux keeps the memory that workers hand batches over in; containers have 64 MiB of it."""
_AHEAD: Final = 2
"""Batches that a worker reads ahead of the caller: torch's `prefetch_factor`."""


@dataclass(frozen=True)
class ImageBatch:
    """The images of one batch, readable and broken."""

    rows: tuple[int, ...]
    """The images that could be read."""
    pixels: Tensor
    """(len(rows), 3, size, size) of the readable images; empty where none is."""
    sha256: tuple[str, ...]
    """SHA-256 of each readable file; empty for an image that came decoded."""
    faults: dict[int, str]
    """The images that could not be read, by row, with one line that says why."""
    ended: str = ""
    """Why none can be read, where that is so; such a batch reaches no caller."""

    def pin_memory(self) -> "ImageBatch":
        """Called by the DataLoader, so that the copy to the GPU runs beside its work."""
        return replace(self, pixels=self.pixels.pin_memory())


def image_batches(
    images: Sequence[Path | Image.Image],
    batches: Sequence[Sequence[int]],
    preprocess: Preprocessing,
    *,
    workers: int,
    pinned: bool,
    least: int | None = None,
) -> Generator[ImageBatch, None, None]:
    """Reads the images of each batch, in order, ahead of the caller.

    Args:
        images: Image files, or images that are decoded already.
        batches: Rows of `images` for each batch.
        preprocess: Applied to each image by the worker.
        workers: Processes that read; with 0 this one does.
        pinned: Whether pixels go to page-locked memory.
        least: Pixels of the shorter edge that `preprocess` needs (`cir.data.images.read_image`).

    Raises:
        CirError: a worker was killed.
        StorageError: images lie at `s3://`, and the storage cannot be reached or refuses.
    """
    decoded = _Images(images, preprocess, least)
    stream = (
        _read_ahead(decoded, batches, workers, pinned)
        if workers and batches
        else _read_here(decoded, batches, pinned)
    )
    with closing(stream):
        for batch in stream:
            if batch.ended:
                raise StorageError(batch.ended)
            yield batch


def _read_here(
    images: "_Images", batches: Sequence[Sequence[int]], pinned: bool
) -> Generator[ImageBatch, None, None]:
    """Batches that this process reads: a loader takes a millisecond to be made."""
    for rows in batches:
        batch = _collate([images[row] for row in rows])
        yield batch.pin_memory() if pinned else batch


def _read_ahead(
    images: "_Images", batches: Sequence[Sequence[int]], workers: int, pinned: bool
) -> Generator[ImageBatch, None, None]:
    """Batches that worker processes read."""
    lifeline = Lifeline()
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of rows will do
        num_workers=workers,
        prefetch_factor=_AHEAD,
        collate_fn=partial(_collated, workers=workers),
        pin_memory=pinned,
        worker_init_fn=partial(_begin, lifeline.end),
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    stream = iter(loader)
    try:
        yield from stream
    except RuntimeError as fault:
        if not str(fault).startswith(_WORKER_DIED):
            raise
        workers_died_of = {worker.exitcode for worker in getattr(stream, "_workers", ())}
        raise CirError(_told(str(fault).splitlines()[0], workers_died_of)) from fault
    finally:
        lifeline.cut()  # what the workers have begun is not waited for
        del stream  # the last reference: not when a traceback is let go


def _begin(end: Connection, _: int) -> None:
    """Begins a worker that ends with its caller, to which it leaves the terminal's signals.

    A fault of memory ends the worker without torch's own lines: the caller says it in one. What
    decoders write to standard error beside the faults that they raise goes nowhere.
    """
    hang_on(end)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    for fatal in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE):
        signal.signal(fatal, signal.SIG_DFL)


@dataclass(frozen=True)
class _DecodedImage:
    row: int
    pixels: Tensor | None
    sha256: str
    fault: str
    ended: str = ""


class _Images(TorchDataset[_DecodedImage]):
    """Decodes a file at a time; a fault is a value, so that no worker dies of it."""

    def __init__(
        self,
        images: Sequence[Path | Image.Image],
        preprocess: Preprocessing,
        least: int | None,
    ) -> None:
        self._images, self._preprocess, self._least = images, preprocess, least

    def __getitem__(self, row: int) -> _DecodedImage:
        path = self._images[row]
        if isinstance(path, Image.Image):
            return self._of_decoded(row, path)
        try:
            encoded = image_bytes(path)
            image = decode_image(encoded, path, least=self._least)
        except ImageError as fault:
            return _DecodedImage(row, None, "", printable(str(fault)))
        except StorageError as fault:
            return _DecodedImage(row, None, "", str(fault), ended=str(fault))
        pixels = self._preprocess(image)
        return _DecodedImage(row, pixels, hashlib.sha256(encoded).hexdigest(), "")

    def _of_decoded(self, row: int, image: Image.Image) -> _DecodedImage:
        """Of an image that came decoded, or that its decoder reads only now."""
        try:
            upright = as_read(image, f"photo {row}", least=self._least)
        except ImageError as fault:
            return _DecodedImage(row, None, "", printable(str(fault)))
        return _DecodedImage(row, self._preprocess(upright), "", "")


@dataclass(frozen=True)
class _Piped:
    """A batch on its way through the pipe of a worker: whoever unpickles it has the batch."""

    batch: ImageBatch

    def __reduce__(self) -> tuple[Any, ...]:
        parts = vars(self.batch) | {"pixels": None}
        return _unpiped, (parts, self.batch.pixels.numpy())


def _unpiped(parts: dict[str, Any], pixels: np.ndarray) -> ImageBatch:
    return ImageBatch(**parts | {"pixels": torch.from_numpy(pixels)})


def _collated(images: Sequence[_DecodedImage], workers: int) -> ImageBatch | _Piped:
    """A batch, as it is handed over: in shared memory, and through a pipe where that is small.

    torch itself would put it into shared memory in a thread that nobody hears of: what failed there
    was waited for without end.
    """
    batch = _collate(images)
    if _shared_memory_holds(_AHEAD * workers * batch.pixels.nbytes):
        with suppress(RuntimeError):
            batch.pixels.share_memory_()  # type: ignore[no-untyped-call]
            return batch
    return _Piped(batch)


def _shared_memory_holds(size: int) -> bool:
    """Whether so many bytes are free and as many are left to others, such as NCCL.

    Other systems than Linux keep them elsewhere.
    """
    try:
        found = os.statvfs(_SHARED)
    except (OSError, AttributeError):
        return True
    return 2 * size <= found.f_bavail * found.f_frsize


def _told(line: str, exit_codes: Collection[int | None]) -> str:
    """A line of torch's on a worker that died, with what helps.

    One that writes to shared memory which is not there dies of SIGBUS.
    """
    if -signal.SIGBUS in exit_codes:
        return (
            f"{line}, by a bus error: {_SHARED} is full, most likely; give a container more of it "
            f"(docker run --shm-size 2g), or pass `workers=0`"
        )
    return f"{line}; pass a smaller `batch_size`, or `workers=0`"


def _collate(images: Sequence[_DecodedImage]) -> ImageBatch:
    pixels = [image.pixels for image in images if image.pixels is not None]
    return ImageBatch(
        rows=tuple(image.row for image in images if not image.fault),
        pixels=torch.stack(pixels) if pixels else torch.empty(0),
        sha256=tuple(image.sha256 for image in images if not image.fault),
        faults={image.row: image.fault for image in images if image.fault},
        ended=next((image.ended for image in images if image.ended), ""),
    )
