"""A FashionIQ-shaped dataset of drawn garments.

Every image has a generator of its own, seeded by the dataset's seed and the image's number, so that
the same seed gives the same bytes for any number of worker processes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cir.data.dataset import SPLITS
from cir.disk.outputs import folder_made
from cir.errors import UsageError
from cir.machine.parallel import in_order
from cir.names import IMAGES, SYNTHETIC_RECORDS
from cir.progress import SILENT, Progress
from cir.sources.annotations import (
    CategorySplit,
    CategorySplitCount,
    PhotoRecord,
    QueryRow,
    write_annotations,
    write_records,
)
from cir.sources.pairing import PhotoGroup, pair_photos
from cir.sources.synthetic.drawing import draw
from cir.sources.synthetic.garments import GARMENTS, draw_garments
from cir.sources.wording import captions, title
from cir.types import Split

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
) -> tuple[CategorySplitCount, ...]:
    """Draws a dataset folder and counts what is in it.

    Args:
        out: Folder to make; one that is there is replaced.
        counts: Images of each category; a category of none is left out.
        size: Height and width of an image in pixels.
        seed: Decides every garment, image and query.
        workers: Processes that draw.
        progress: Told of every image.

    Raises:
        UsageError: a category is unknown or has too few images to make queries, or `size` is not
            above 0.
    """
    _require_counts(counts)
    if size < 1:
        raise UsageError(f"`size` is {size}; expected pixels above 0")
    garments = [g for number, c in enumerate(GARMENTS) for g in _garments(c, counts, number, seed)]
    splits = list(_category_splits(garments, seed))
    with folder_made(out, "dataset", {}) as aside:
        (aside / IMAGES).mkdir()
        jobs = [_Job(aside / IMAGES / f"{g.id}.jpg", g, size) for g in garments]
        with progress.task("drawing", len(jobs), "images") as task:
            for _ in in_order(_draw_image, jobs, workers):
                task.advance()
        write_annotations(aside, splits)
        write_records(
            aside / SYNTHETIC_RECORDS, {g.id: _record(g) for g in garments}, {"seed": seed}
        )
    return tuple(split.count() for split in splits)


def _require_counts(counts: Mapping[str, int]) -> None:
    unknown = sorted(counts.keys() - GARMENTS.keys())
    if unknown:
        raise UsageError(
            f"`counts` names {', '.join(unknown)}; there are garments of {', '.join(GARMENTS)}"
        )
    few = [f"`{category}` is {n}" for category, n in counts.items() if n < 0 or 0 < n < LEAST]
    if few:
        raise UsageError(f"{', '.join(few)}; expected 0 or at least {LEAST} images")


def _garments(
    category: str, counts: Mapping[str, int], number: int, seed: int
) -> Iterator[_Garment]:
    """One category's garments, split by split; `number` is the category's own."""
    start = 0
    for split_number, split in enumerate(SPLITS):
        end = _end(counts.get(category, 0), split_number)
        rng = np.random.default_rng([seed, _GARMENTS_STREAM, number, split_number])
        drawn = draw_garments(category, end - start, rng)
        for row, attributes in enumerate(drawn, start):
            image_seed = (seed, _DRAWING_STREAM, number, row)
            yield _Garment(f"{category}-{row:05d}", category, split, attributes, image_seed)
        start = end


def _end(count: int, split_number: int) -> int:
    """Images of a category in the splits up to and with this one."""
    return round(count * sum(_SHARES[split] for split in SPLITS[: split_number + 1]))


def _category_splits(garments: Sequence[_Garment], seed: int) -> Iterator[CategorySplit]:
    for number, category in enumerate(GARMENTS):
        for split_number, split in enumerate(SPLITS):
            members = [g for g in garments if (g.category, g.split) == (category, split)]
            rng = np.random.default_rng([seed, _QUERIES_STREAM, number, split_number])
            if members:
                ids = [garment.id for garment in members]
                yield CategorySplit(category, split, ids, _queries(members, rng))


def _queries(garments: Sequence[_Garment], rng: np.random.Generator) -> list[QueryRow]:
    """Queries among one split's garments, about half of them sharing their reference."""
    group = PhotoGroup(
        attributes=[garment.attributes for garment in garments],
        categories=[garment.category for garment in garments],
        lookalikes=range(len(garments)),
    )
    count = round(len(garments) * _QUERIES_PER_IMAGE)
    references = _references(len(garments), count, rng)
    pairs = pair_photos(group, references, rng, at_most=count)
    return [
        QueryRow(
            garments[pair.reference].id,
            [garments[row].id for row in pair.targets],
            captions(pair.changes, rng),
        )
        for pair in pairs
    ]


def _references(images: int, queries: int, rng: np.random.Generator) -> list[int]:
    """Rows of reference images, a third of them twice, and then the rest as substitutes."""
    rows = rng.permutation(images).tolist()
    distinct = round(queries / (1 + _TWICE))
    return [*rows[: queries - distinct], *rows[:distinct], *rows[distinct:]]


def _draw_image(job: _Job) -> None:
    """Draws and writes one image, in whichever process."""
    garment = job.garment
    job.file.write_bytes(draw(garment.category, garment.attributes, job.size, garment.seed))


def _record(garment: _Garment) -> PhotoRecord:
    words = title(GARMENTS[garment.category], garment.attributes)
    return PhotoRecord(garment.category, garment.split, words, garment.attributes)
