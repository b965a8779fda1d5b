"""Records and photos drawn at random: what pretraining needs of a catalogue."""

import numpy as np
import torch
from torch import Tensor

from cir.sources.annotations import PhotoRecord

COLOURS = ("red", "navy blue", "green")


def random_records(count: int, seed: int = 0) -> list[PhotoRecord]:
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        attributes = {
            "colour": str(rng.choice(COLOURS)),
            "gender": str(rng.choice(["men", "women"])),
        }
        if rng.random() < 0.5:
            attributes["pattern"] = str(rng.choice(["striped", "checked"]))
        records.append(PhotoRecord("topwear", "train", f"Brand Shirt {number}", attributes))
    return records


def random_photos(count: int, size: int = 32) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator()
    )
