"""How well an encoder finds a photo by its title: the held-out measure of pretraining."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cir.artefacts.vectors import normalised
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.evaluation.retrieval import rank_targets
from cir.progress import SILENT, Progress
from cir.types import NO_ROW

DEPTHS: Final = (1, 5, 10, 50)
_BATCH: Final = 256


@dataclass(frozen=True)
class TitleRecall:
    """Share of titles whose own photo is among the k nearest, in percent."""

    gallery: int
    """Photos that each title is compared with; as many titles."""
    recall: dict[int, float]
    chance: dict[int, float]
    """The recall of a random order."""


def title_recall(
    encoder: Encoder,
    files: Sequence[Path],
    titles: Sequence[str],
    *,
    workers: int,
    progress: Progress = SILENT,
) -> TitleRecall:
    """Ranks the photos for every title; only the title's own photo is a hit.

    Photos that share a title share its ranks, so a repeated title counts against the recall.

    Args:
        encoder: In eval mode.
        files: The gallery.
        titles: The query of each file.
        workers: Processes that decode photos.
        progress: Shows photos and titles per second.
    """
    photos = image_vectors(encoder, files, batch_size=_BATCH, workers=workers, progress=progress)
    texts = caption_vectors(encoder, titles, batch_size=_BATCH, progress=progress)
    ranks = rank_targets(
        normalised(texts, "titles"),
        normalised(photos, "photos"),
        [np.array([row]) for row in range(len(files))],
        np.full(len(titles), NO_ROW),
        device=encoder.device,
    )
    return TitleRecall(
        gallery=len(files),
        recall={k: float((ranks <= k).mean() * 100) for k in DEPTHS},
        chance={k: min(k / len(files), 1.0) * 100 for k in DEPTHS},
    )
