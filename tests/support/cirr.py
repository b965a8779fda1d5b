"""A small dataset folder in CIRR's form."""

import json
from pathlib import Path

import numpy as np

from cir.data.dataset import Dataset
from tests.support.worlds import WORDS, blot

FOLDERS = {"train": "train/7", "dev": "dev", "test1": "test1"}
"""Where images lie, by the first word of their names."""
MEMBERS = 6
"""Images of a subset, the reference among them."""


def cirr_dataset(root: Path, images: int = 60, queries: int = 12, inner: str = "") -> Dataset:
    """`images` and `queries` a split; annotations lie in the folder `inner`."""
    rng = np.random.default_rng(0)
    for prefix, split in (("train", "train"), ("dev", "val"), ("test1", "test1")):
        ids = [f"{prefix}-{number}-0-img0" for number in range(images)]
        folder = root / FOLDERS[prefix]
        folder.mkdir(parents=True)
        for image_id in ids:
            blot(rng, 32).save(folder / f"{image_id}.png")
        rows = [row(rng, ids, 7 * number, split != "test1") for number in range(queries)]
        paths = {i: f"./{FOLDERS[prefix]}/{i}.png" for i in ids}
        for name, value in (("captions/cap", rows), ("image_splits/split", paths)):
            file = root / inner / f"{name}.rc2.{split}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
    return Dataset(root)


def row(
    rng: np.random.Generator, ids: list[str], pair: int, with_target: bool
) -> dict[str, object]:
    """A pair: the target is the second member, and the third is graded as good."""
    members = rng.choice(ids, MEMBERS, replace=False).tolist()
    reference, target, alike, other = members[:4]
    made = {
        "pairid": pair,
        "reference": reference,
        "caption": f"make it {rng.choice(WORDS)}.",
        "img_set": {"id": 1, "members": sorted(members), "reference_rank": 0},
    }
    if with_target:
        grades = {target: 1.0, alike: 1.0, reference: 1.0, other: 0.5}
        made |= {"target_hard": target, "target_soft": grades}
    return made
