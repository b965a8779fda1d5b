"""Small worlds to test in: a dataset folder and vectors for it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.captions import variants
from cir.data.dataset import Dataset

WORDS = ("red", "blue", "striped", "longer", "with sleeves", "more formal", "plain", "shorter")
SPLITS = ("train", "val", "test")


def small_dataset(
    root: Path,
    categories: Sequence[str] = ("dress", "shirt"),
    images: int = 24,
    queries: int = 16,
    size: int = 32,
    seed: int = 0,
) -> Dataset:
    """`images` and `queries` a category and split; photos are blots of colour."""
    rng = np.random.default_rng(seed)
    for folder in ("images", "captions", "image_splits"):
        (root / folder).mkdir(parents=True)
    for category in categories:
        for split in SPLITS:
            ids = [f"{category[0]}{split[:2]}{number:03d}" for number in range(images)]
            for image_id in ids:
                blot(rng, size).save(root / "images" / f"{image_id}.jpg")
            rows = [_row(rng, ids, with_target=split != "test") for _ in range(queries)]
            _write(root / "captions" / f"cap.{category}.{split}.json", rows)
            _write(root / "image_splits" / f"split.{category}.{split}.json", ids)
    return Dataset(root)


def random_embeddings(
    dataset: Dataset, dim: int = 16, seed: int = 0, path: Path = Path("embeddings.h5")
) -> Embeddings:
    """Gaussian vectors for every image and caption of `dataset`, in memory."""
    rng = np.random.default_rng(seed)
    ids = dataset.image_ids()
    texts = sorted(
        {t for s in dataset.splits for q in dataset.queries(s) for t in variants(q.captions)}
    )
    return Embeddings(
        images=VectorTable(tuple(ids), rng.standard_normal((len(ids), dim)).astype(np.float32)),
        captions=VectorTable(
            tuple(texts), rng.standard_normal((len(texts), dim)).astype(np.float32)
        ),
        image_sha256=tuple(f"{number:064x}" for number in range(len(ids))),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", dim),
        skipped={},
        path=path,
        sha256="e" * 64,
    )


def write_store(made: Embeddings, path: Path | None = None) -> Path:
    """Writes `made` as a store, at its own path unless another is given."""
    path = path or made.path
    write_embeddings(
        path,
        images=made.images,
        captions=made.captions,
        image_sha256=made.image_sha256,
        provenance=made.provenance,
        skipped=made.skipped,
        image_states=made.image_states,
        precision=made.precision,
        libraries=made.libraries,
    )
    return path


def blot(rng: np.random.Generator, size: int) -> Image.Image:
    """A photo of coloured patches."""
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def _row(rng: np.random.Generator, ids: Sequence[str], *, with_target: bool) -> dict[str, object]:
    reference, target = (ids[i] for i in rng.choice(len(ids), 2, replace=False))
    captions = [f"is {word}" for word in rng.choice(WORDS, 2, replace=False)]
    return {"candidate": reference, "captions": captions} | (
        {"target": target} if with_target else {}
    )


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
