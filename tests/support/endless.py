"""Work that does not end by itself, for workers that are to be ended."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

_LONG = 60.0


def work(folder: str) -> None:
    """Says in a folder which process works, then works long."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(_LONG)


def briefly(number: int) -> int:
    """Takes a moment; after the first chunk, long."""
    time.sleep(_LONG if number >= 64 else 0)
    return number


def prepare(folder: str) -> Callable[[Image.Image], Tensor]:
    """A preprocessing that works as `work` does."""
    return partial(_prepare, folder)


def _prepare(folder: str, image: Image.Image) -> Tensor:
    work(folder)
    return torch.zeros(3, 8, 8)
