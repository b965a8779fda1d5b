"""An encoder that actors of Ray load in little time: without open_clip, and with few weights."""

import os
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from cir.encoding.encoder import Encoder
from cir.encoding.foreign import adopted

WORKERS: Final = 2
LONGEST: Final = 300.0
"""Seconds that an actor waits for the others."""


class Convolution:
    """Encodes by a convolution, and leaves a file for each actor that encoded.

    None goes on before all have come, so that all of them encode.
    """

    def __init__(self, seen: Path) -> None:
        self._seen, self._home = seen, os.getpid()
        self._weights = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))

    def encode_images(self, photos: list[Image.Image]) -> torch.Tensor:
        if os.getpid() != self._home:
            self._meet()
        pixels = torch.from_numpy(np.stack([np.asarray(photo) for photo in photos])).float()
        found = torch.conv2d(pixels.permute(0, 3, 1, 2) / 255, self._weights)
        return found.relu().mean((2, 3)) + 1

    def _meet(self) -> None:
        (self._seen / str(os.getpid())).touch()
        end = time.monotonic() + LONGEST
        while len(list(self._seen.iterdir())) < WORKERS and time.monotonic() < end:
            time.sleep(0.05)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), *map(ord, text[:7].ljust(7))] for text in texts], np.float32)


def convolution(seen: Path) -> Encoder:
    """The encoder; `seen` is a folder for the numbers of processes."""
    seen.mkdir(exist_ok=True)
    return adopted(Convolution(seen), name="convolution", image_size=24, version="1")
