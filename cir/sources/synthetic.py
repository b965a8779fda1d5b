"""A FashionIQ-shaped dataset of drawn garments.

Every image has its own generator, seeded by the dataset's seed and its place, so the same seed
gives the same bytes for any number of worker processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cir.data.dataset import SPLITS
from cir.errors import UsageError
from cir.files import folder_written_aside
from cir.parallel import in_order
from cir.progress import SILENT, Progress
from cir.sources.annotations import PhotoRecord, QueryRow, Shelved, write_annotations, write_records
from cir.sources.drawing import draw
from cir.sources.garments import GARMENTS, draw_garments
from cir.sources.pairing import Shelf, pair_photos
from cir.sources.wording import captions, title
from cir.types import Split

RECORDS: Final = "synthetic.json"
"""The file of the dataset folder that holds each image's title and attributes."""
LEAST: Final = 20
"""Images of a category that give every split queries."""
_SHARES: Final[Mapping[Split, float]] = {"train": 0.6, "val": 0.2, "test": 0.2}
"""FashionIQ's own: 46,609 / 15,536 / 15,538 of its images."""
_QUERIES_PER_IMAGE: Final = 0.8
"""FashionIQ's 18,000 train queries over the train share of the images that its captions name."""
_TWICE: Final = 1 / 3
"""Share of references that are asked about twice, so that half of the queries share theirs."""
_GARMENTS_STREAM, _QUERIES_STREAM, _DRAWING_STREAM = range(3)


@dataclass(frozen=True)
class SynthShelf:
    """Figures of one category's split."""

    category: str
    split: Split
    images: int
    queries: int
    targets: float
    """Images that fit a query, on average."""


@dataclass(frozen=True)
class SynthSummary:
    """What was drawn."""

    shelves: tuple[SynthShelf, ...]


@dataclass(frozen=True)
class _Garment:
    id: str
    category: str
    split: Split
    attributes: Mapping[str, str]
    seed: tuple[int, ...]


@dataclass(frozen=True)
class _Job:
    """One image to draw."""

    file: Path
    garment: _Garment
    size: int


def draw_dataset(
    out: Path,
    counts: Mapping[str, int],
    *,
    size: int = 128,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = SILENT,
) -> SynthSummary:
    """Draws a dataset folder.

    Args:
        out: Folder to make; one that is there is replaced.
        counts: Images of each category; a category of none is left out.
        size: Height and width of an image in pixels.
        seed: Decides every garment, image and query.
        workers: Processes that draw.
        progress: Told of every image.

    Raises:
        UsageError: a category is unknown or has too few images to make queries.
    """
    _require(counts)
    garments = [g for number, c in enumerate(GARMENTS) for g in _shelf(c, counts, number, seed)]
    shelves = list(_shelves(garments, seed))
    with folder_written_aside(out) as aside:
        (aside / "images").mkdir()
        jobs = [_Job(aside / "images" / f"{g.id}.jpg", g, size) for g in garments]
        with progress.task("drawing", len(jobs), "images") as task:
            for _ in in_order(_draw, jobs, workers):
                task.advance()
        write_annotations(aside, shelves)
        write_records(aside / RECORDS, {g.id: _record(g) for g in garments}, {"seed": seed})
    return SynthSummary(tuple(_count(shelf) for shelf in shelves))


def _require(counts: Mapping[str, int]) -> None:
    unknown = sorted(counts.keys() - GARMENTS.keys())
    if unknown:
        raise UsageError(
            f"no garments called {', '.join(unknown)}; there are {', '.join(GARMENTS)}"
        )
    few = [f"--{category} {n}" for category, n in counts.items() if 0 < n < LEAST]
    if few:
        raise UsageError(f"{', '.join(few)}: expected 0 or at least {LEAST} images")


def _shelf(category: str, counts: Mapping[str, int], number: int, seed: int) -> Iterator[_Garment]:
    """One category's garments, split by split."""
    start = 0
    for place, split in enumerate(SPLITS):
        end = _end(counts.get(category, 0), place)
        rng = np.random.default_rng([seed, _GARMENTS_STREAM, number, place])
        drawn = draw_garments(category, end - start, rng)
        for position, attributes in enumerate(drawn, start):
            image_seed = (seed, _DRAWING_STREAM, number, position)
            yield _Garment(f"{category}-{position:05d}", category, split, attributes, image_seed)
        start = end


def _end(count: int, place: int) -> int:
    """Images of a category up to and with the split at `place`."""
    return round(count * sum(_SHARES[split] for split in SPLITS[: place + 1]))


def _shelves(garments: Sequence[_Garment], seed: int) -> Iterator[Shelved]:
    for number, category in enumerate(GARMENTS):
        for place, split in enumerate(SPLITS):
            here = [g for g in garments if (g.category, g.split) == (category, split)]
            rng = np.random.default_rng([seed, _QUERIES_STREAM, number, place])
            if here:
                yield Shelved(category, split, [g.id for g in here], _queries(here, rng))


def _queries(garments: Sequence[_Garment], rng: np.random.Generator) -> list[QueryRow]:
    """Queries among one split's garments, about half of them sharing their reference."""
    shelf = Shelf(
        attributes=[garment.attributes for garment in garments],
        kinds=[garment.category for garment in garments],
        lookalikes=range(len(garments)),
    )
    wanted = round(len(garments) * _QUERIES_PER_IMAGE)
    references = _references(len(garments), wanted, rng)
    pairs = pair_photos(shelf, references, rng, at_most=wanted)
    return [
        QueryRow(
            garments[pair.reference].id,
            [garments[row].id for row in pair.targets],
            captions(pair.changes, rng),
        )
        for pair in pairs
    ]


def _references(images: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Rows of reference images, a third of them twice, and then the rest as substitutes."""
    rows = rng.permutation(images).tolist()
    needed = round(wanted / (1 + _TWICE))
    return [*rows[: wanted - needed], *rows[:needed], *rows[needed:]]


def _draw(job: _Job) -> None:
    """Draws and writes one image, in whichever process."""
    garment = job.garment
    job.file.write_bytes(draw(garment.category, garment.attributes, job.size, garment.seed))


def _record(garment: _Garment) -> PhotoRecord:
    words = title(GARMENTS[garment.category], garment.attributes)
    return PhotoRecord(garment.category, garment.split, words, garment.attributes)


def _count(shelf: Shelved) -> SynthShelf:
    queries = shelf.queries
    targets = sum(len(query.targets) for query in queries) / max(len(queries), 1)
    return SynthShelf(shelf.category, shelf.split, len(shelf.ids), len(queries), targets)
