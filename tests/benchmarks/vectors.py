"""What a benchmark mines in: queries, their composed vectors, and a gallery.

Random unit vectors with targets that are correlated with their queries, or the embeddings of a
dataset; both are saved as .npy files, which every contestant loads into memory before its clock
starts.
"""

import argparse
import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.mining.manifest import usable_queries
from cir.models.combiner import SumCombiner
from cir.models.composition import composed_queries

QUERIES, GALLERY, DIM = 18_000, 37_825, 640
"""FashionIQ's size, RN50x4's width."""
CATEGORIES = ("dress", "shirt", "toptee")
ABSENT = -2
"""The gallery row of an image that the gallery lacks."""
STRONGEST_PULL = 0.5
"""How near to its target a random query is at most; the weakest pull is none."""


@dataclass(frozen=True, eq=False)
class World:
    """What is mined."""

    queries: tuple[Query, ...]
    vectors: Float32[np.ndarray, "queries dim"]
    """The composed queries, unit vectors."""
    embeddings: Embeddings
    galleries: Mapping[str, Sequence[str]]
    """Image ids by category."""

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The images of the gallery: gallery row i is ids[i]."""
        return tuple(sorted(set().union(*self.galleries.values())))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Image id to gallery row."""
        return {image_id: row for row, image_id in enumerate(self.ids)}

    @cached_property
    def gallery(self) -> Float32[np.ndarray, "gallery dim"]:
        """The unit vectors of `ids`."""
        return normalised(self.embeddings.images.take(self.ids), "the gallery")

    @cached_property
    def targets(self) -> Int64[np.ndarray, " queries"]:
        """The gallery row of each query's target; `ABSENT` where the gallery lacks it."""
        return np.array([self.row_of.get(query.target_id, ABSENT) for query in self.queries])

    @cached_property
    def references(self) -> Int64[np.ndarray, " queries"]:
        """The gallery row of each query's reference; `ABSENT` where the gallery lacks it."""
        return np.array([self.row_of.get(query.reference_id, ABSENT) for query in self.queries])

    def take(self, numbers: Int64[np.ndarray, " some"]) -> "World":
        """Some of the queries, against the whole gallery."""
        chosen = tuple(self.queries[number] for number in numbers)
        return dataclasses.replace(self, queries=chosen, vectors=self.vectors[numbers])

    def part(self, queries: int, gallery: int) -> "World":
        """A smaller world: evenly spread queries, their images, and evenly spread others.

        The gallery is larger than asked where the images that the queries name are more.
        """
        some = self.take(_spread(len(self.queries), queries))
        named = {i for q in some.queries for i in (q.reference_id, *q.target_ids)}
        others = [image_id for image_id in self.ids if image_id not in named]
        chosen = _spread(len(others), max(0, gallery - len(named)))
        kept = named | {others[row] for row in chosen}
        galleries = {c: [i for i in own if i in kept] for c, own in self.galleries.items()}
        return dataclasses.replace(
            some, embeddings=_only(self.embeddings, sorted(kept)), galleries=galleries
        )

    def save(self, folder: Path) -> None:
        """Writes the world for `load_world`."""
        images = self.embeddings.images
        names = dataclasses.replace(
            self,
            vectors=self.vectors[:0],
            embeddings=dataclasses.replace(
                self.embeddings, images=VectorTable(images.keys, images.vectors[:, :0])
            ),
        )
        np.save(folder / "queries.npy", self.vectors)
        np.save(folder / "images.npy", images.vectors)
        (folder / "names.pkl").write_bytes(pickle.dumps(names))


def load_world(folder: Path) -> World:
    """Reads into memory what `World.save` wrote."""
    names: World = pickle.loads((folder / "names.pkl").read_bytes())
    images = VectorTable(names.embeddings.images.keys, np.load(folder / "images.npy"))
    return dataclasses.replace(
        names,
        vectors=np.load(folder / "queries.npy"),
        embeddings=dataclasses.replace(names.embeddings, images=images),
    )


def random_world(
    queries: int = QUERIES, gallery: int = GALLERY, dim: int = DIM, seed: int = 0
) -> World:
    """Random unit vectors; each query has a target, a reference and another known target."""
    rng = np.random.default_rng(seed)
    images = normalised(rng.standard_normal((gallery, dim), dtype=np.float32), "images")
    named = np.array([rng.choice(gallery, 3, replace=False) for _ in range(queries)])
    noise = rng.standard_normal((queries, dim), dtype=np.float32) / np.sqrt(dim, dtype=np.float32)
    pull = rng.uniform(0, STRONGEST_PULL, (queries, 1)).astype(np.float32)
    ids = tuple(f"{row:07d}" for row in range(gallery))
    return World(
        queries=tuple(_random_query(number, rows) for number, rows in enumerate(named.tolist())),
        vectors=normalised(noise + pull * images[named[:, 0]], "queries"),
        embeddings=_random_embeddings(ids, images),
        galleries={c: ids[place :: len(CATEGORIES)] for place, c in enumerate(CATEGORIES)},
    )


def dataset_world(folder: Path, file: Path, split: str, *, all_images: bool) -> World:
    """The queries of a split, composed by `sum`.

    Args:
        folder: Dataset folder.
        file: Its embedding store.
        split: Whose queries.
        all_images: Whether the gallery is every image of the store, or those of the split.
    """
    dataset, embeddings = Dataset(folder), read_embeddings(file)
    queries, _ = usable_queries(dataset.queries(split), embeddings)
    galleries: dict[str, list[str]] = {category: [] for category in dataset.categories}
    for each in dataset.splits if all_images else (split,):
        for category, ids in dataset.galleries(each).items():
            galleries[category] += [i for i in ids if i not in embeddings.skipped]
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, embeddings, SumCombiner(), torch.device("cpu"))
    return World(tuple(queries), vectors, embeddings, galleries)


def add_arguments(parser: argparse.ArgumentParser, *, split: str) -> None:
    """The options that `world_of` reads."""
    parser.add_argument("--vectors", choices=("random",), help="random unit vectors, the default")
    parser.add_argument("--dataset", type=Path, help="dataset folder, with --embeddings")
    parser.add_argument("--embeddings", type=Path, help="its embedding store")
    parser.add_argument("--split", default=split, help="the split whose queries are mined")
    parser.add_argument("--queries", type=int, help="mine a part of the queries")
    parser.add_argument("--gallery", type=int, help="mine in a part of the gallery")


def world_of(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, *, all_images: bool
) -> tuple[World, str]:
    """What the options ask for, and its name."""
    if (asked.dataset is None) != (asked.embeddings is None):
        parser.error("--dataset FOLDER and --embeddings FILE go together")
    if asked.vectors and asked.dataset:
        parser.error("--vectors random and --dataset exclude each other")
    if asked.dataset is None:
        return random_world(asked.queries or QUERIES, asked.gallery or GALLERY), "random vectors"
    world = dataset_world(asked.dataset, asked.embeddings, asked.split, all_images=all_images)
    if asked.queries or asked.gallery:
        world = world.part(asked.queries or len(world.queries), asked.gallery or len(world.ids))
    return world, f"{asked.dataset.name}, {world.embeddings.provenance.model}"


def _random_query(number: int, rows: Sequence[int]) -> Query:
    target, reference, other = (f"{row:07d}" for row in rows)
    return Query(
        id=f"random-{number:07d}",
        category=CATEGORIES[rows[0] % len(CATEGORIES)],
        reference_id=reference,
        captions=(f"query {number}",),
        target_ids=(target, other),
    )


def _random_embeddings(
    ids: tuple[str, ...], images: Float32[np.ndarray, "gallery dim"]
) -> Embeddings:
    dim = images.shape[1]
    return Embeddings(
        images=VectorTable(ids, images),
        captions=VectorTable((), np.zeros((0, dim), dtype=np.float32)),
        image_sha256=tuple(f"{row:064x}" for row in range(len(ids))),
        provenance=Provenance("random", "none", "0" * 64, "none", dim),
        skipped={},
        path=Path("random.h5"),
        sha256="0" * 64,
    )


def _only(embeddings: Embeddings, ids: Sequence[str]) -> Embeddings:
    """The store with some of its images."""
    rows = embeddings.images.rows(ids)
    return dataclasses.replace(
        embeddings,
        images=VectorTable(tuple(ids), embeddings.images.vectors[rows]),
        image_sha256=tuple(embeddings.image_sha256[row] for row in rows),
    )


def _spread(count: int, wanted: int) -> Int64[np.ndarray, " some"]:
    """`wanted` of the first `count` whole numbers, evenly spread; all where they are fewer."""
    return np.arange(min(wanted, count)) * count // max(1, min(wanted, count))
