"""How soon `cir search` starts, and what a query costs once it is warm.

    OMP_NUM_THREADS=1 taskset -c 0 python -m tests.benchmarks.queries --run runs/shop \
        --store data/shop.h5 --photos 74381 --starts 5

A gallery is the store's, again and again with noise, until it has as many photos as asked for. With
little noise they are near-copies of each other (cosine 0.9988), which a search folds into one
result, so that it looks farther; with more (0.96 to 0.98) they are photos of their own, as most of
a real catalogue are. A start is the whole command, by an id and a text, beside `import torch`.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cir
from cir.artefacts.store import Embeddings, read_images
from cir.artefacts.vectors import normalised
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex, Seconds
from cir.search.opening import Source, find_source
from cir.search.query import Example, SearchQuery

TEXTS = ("is red", "is darker", "has long sleeves", "is more formal", "has stripes", "is shorter")
NOISES = {"near-copies": 0.05, "photos of their own": 0.2}
"""Length of the noise, to that of a vector, by what it makes of a photo."""
_COLD = 10
"""Queries that are not counted."""


def noisy_gallery(store: Embeddings, photos: int, noise: float) -> Gallery:
    """The store's photos, and copies of them with noise, turned as a server turns them."""
    own = normalised(store.images.vectors, str(store.path))
    rng, parts = np.random.default_rng(0), [own]
    while sum(map(len, parts)) < photos:
        drawn = rng.standard_normal(own.shape).astype(np.float32) / np.sqrt(own.shape[1])
        parts.append(normalised(own + np.float32(noise) * drawn, "copies"))
    names = itertools.product(range(len(parts)), store.images.keys)
    ids = [f"{copy}-{image_id}" for copy, image_id in names]
    gallery = Gallery(ids[:photos], np.concatenate(parts)[:photos])
    gallery.turn()
    return gallery


def timed(index: SearchIndex, references: Sequence[Example]) -> list[float]:
    """Medians in milliseconds: encode, compose, search, all, and processor time of all."""
    rows = []
    for reference, text in zip(references, itertools.cycle(TEXTS), strict=False):
        query, seconds = SearchQuery(images=(reference,), text=text), Seconds()
        wall, cpu = time.perf_counter(), time.process_time()
        index.search_all([query], seconds)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        rows.append((seconds.encode, seconds.compose, seconds.search, *spent))
    medians: list[float] = (1000 * np.median(rows[_COLD:], axis=0)).tolist()
    return medians


def started(words: Sequence[str], times: int) -> tuple[float, float]:
    """Medians of wall and processor seconds of a program of Python."""
    walls, cpus = [], []
    for _ in range(times):
        began, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = os.times()
        walls.append(time.perf_counter() - began)
        cpus.append(sum(after[2:4]) - sum(before[2:4]))
    return statistics.median(walls), statistics.median(cpus)


def main() -> None:
    """Prints a line for each kind of query and of start."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=74_381)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--starts", type=int, default=0)
    asked = parser.parse_args()
    store, source = read_images(asked.store), find_source(asked.store)
    retriever, count = cir.load(asked.run), asked.queries + _COLD
    dataset = source.dataset if isinstance(source, Source) else None
    files = list(dataset.image_files.values()) if dataset else []
    print("| gallery | reference | encode | compose | search | all, ms | processor, ms |")  # noqa: T201
    for made, noise in NOISES.items():
        index = SearchIndex(retriever, noisy_gallery(store, asked.photos, noise))
        kinds: dict[str, Sequence[Example]] = {"a photo of it": index.gallery.ids}
        for name, references in (kinds | ({"a file": files} if files else {})).items():
            cells = (made, name, *(f"{each:.1f}" for each in timed(index, references[:count])))
            print(f"| {' | '.join(cells)} |")  # noqa: T201
    words = ["search", "--store", str(asked.store), "--image", store.images.keys[0]]
    words = ["-m", "pipeline", *words, "--text", TEXTS[0], "--json"]
    programs = {"search": words, "search by a run": [*words[:3], str(asked.run), *words[3:]]}
    for name, program in {"import torch": ["-c", "import torch"], **programs}.items():
        if asked.starts:
            wall, cpu = started(program, asked.starts)
            print(f"{name}: {wall:.2f} s, {cpu:.2f} s of processor time")  # noqa: T201


if __name__ == "__main__":
    main()
