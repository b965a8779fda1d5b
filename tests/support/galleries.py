"""A small gallery that can be searched: photos of one colour each, with titles and attributes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.models.composer import untrained_composer
from cir.search.gallery import Gallery, ImageRecord
from cir.search.index import SearchIndex
from cir.search.retriever import Retriever
from tests.support.micro import micro_encoder

COLOURS = ("red", "blue", "green", "navy")


def vectors(count: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    """Unit vectors."""
    return normalised(
        np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32), "drawn"
    )


def crowded(rows: int, dim: int = 64, seed: int = 0) -> np.ndarray:
    """Unit vectors about a mean, along few axes, as an encoder's are."""
    rng = np.random.default_rng(seed)
    spread = 0.9 ** np.arange(dim)
    drawn = rng.standard_normal((rows, dim)) * spread + np.eye(dim)[0]
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def drawn_gallery(count: int = 12, dim: int = 32) -> Gallery:
    """Photos `p00`, `p01`, … of drawn vectors; the even ones are of the category `even`."""
    ids = [f"p{number:02d}" for number in range(count)]
    return Gallery(
        ids,
        vectors(count, dim),
        sha256=[f"{number:064x}" for number in range(count)],
        records={i: record(number) for number, i in enumerate(ids)},
    )


def record(number: int) -> ImageRecord:
    category = "odd" if number % 2 else "even"
    colour = COLOURS[number % len(COLOURS)]
    return ImageRecord(f"Photo {number} in {colour}", (category,), {"colour": colour})


def plain_sum(encoder: Encoder | None = None) -> Retriever:
    """The plain sum over a micro encoder."""
    return Retriever(untrained_composer("sum"), encoder or micro_encoder())


def drawn_index(count: int = 12) -> SearchIndex:
    """The plain sum over `drawn_gallery`."""
    return SearchIndex(plain_sum(), drawn_gallery(count))


def stored(dataset: Dataset, encoder: Encoder, store: Path) -> Path:
    """A store of drawn vectors for a dataset's photos; a micro encoder finds all photos alike."""
    ids = tuple(dataset.image_ids())
    write_embeddings(
        store,
        images=VectorTable(ids, vectors(len(ids), encoder.dim)),
        captions=VectorTable((), np.zeros((0, encoder.dim), np.float32)),
        image_sha256=[f"{number:064x}" for number in range(len(ids))],
        provenance=encoder.provenance,
        skipped={},
    )
    return store


def small_photos(root: Path, count: int = 6) -> Dataset:
    """A dataset of a category `shoes` with photos of one colour, titles, and queries in val."""
    for folder in ("images", "captions", "image_splits"):
        (root / folder).mkdir(parents=True)
    ids = [f"s{number}" for number in range(count)]
    rng = np.random.default_rng(0)
    for image_id in ids:
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 64)).save(root / "images" / f"{image_id}.png")
    rows = [{"candidate": "s0", "target": "s1", "captions": ["is blue"]}]
    _write(root / "captions/cap.shoes.val.json", rows)
    _write(root / "image_splits/split.shoes.val.json", ids)
    photos = {
        image_id: {
            "category": "shoes",
            "split": "val",
            "title": f"Shoe {number} <b>",
            "attributes": {"colour": COLOURS[number % len(COLOURS)]},
        }
        for number, image_id in enumerate(ids)
    }
    _write(root / "catalog.json", {"photos": photos})
    return Dataset(root)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
