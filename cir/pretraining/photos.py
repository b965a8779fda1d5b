"""The training photos, read once and held in memory as squares of bytes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cir.data.images import read_image
from cir.encoding.preprocess import TARGET_RATIO, squared
from cir.machine.parallel import in_order
from cir.progress import SILENT, Progress


def read_squares(
    files: Sequence[Path], size: int, workers: int, progress: Progress = SILENT
) -> UInt8[Tensor, "photos 3 size size"]:
    """Reads every photo, padded, resized and cropped as `targetpad` does, as bytes.

    Raises:
        ImageError: a photo is broken.
    """
    squares = np.empty((len(files), 3, size, size), dtype=np.uint8)
    with progress.task("photos", len(files), "photos") as task:
        for row, square in enumerate(in_order(partial(_square, size=size), files, workers)):
            squares[row] = square
            task.advance()
    return torch.from_numpy(squares)


def _square(file: Path, *, size: int) -> UInt8[np.ndarray, "3 size size"]:
    return np.asarray(squared(read_image(file), TARGET_RATIO, size)).transpose(2, 0, 1)
