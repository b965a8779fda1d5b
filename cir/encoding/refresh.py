"""The vectors of a store, encoded again by an encoder whose towers have changed."""

import dataclasses
from collections.abc import Iterable

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.data.dataset import Dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.machine.processes import ALONE, Processes
from cir.progress import SILENT, Progress

_BATCH = 128
"""Images or captions encoded at once."""


def with_images(
    embeddings: Embeddings,
    encoder: Encoder,
    dataset: Dataset,
    image_ids: Iterable[str],
    *,
    workers: int,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
) -> Embeddings:
    """The store with some images encoded again, and no others: none is stale.

    Args:
        embeddings: Says which images there are; one that it skipped stays out.
        encoder: Its image tower has changed.
        dataset: Where the image files are.
        image_ids: The images to encode.
        workers: Processes that decode.
        progress: Shows images per second, those of this process's part.
        processes: Those that encode a part each; all return the same.

    Raises:
        ImageError: an image file can no longer be read.
        VectorError: the encoder gives vectors without a direction.
    """
    chosen = set(image_ids)
    rows = [row for row, image_id in enumerate(embeddings.images.keys) if image_id in chosen]
    ids = tuple(embeddings.images.keys[row] for row in rows)
    files = [dataset.image_path(image_id) for image_id in ids[processes.part(len(ids))]]
    part = image_vectors(
        encoder, files, batch_size=_BATCH, workers=workers, progress=progress, of=len(ids)
    )
    vectors = processes.all_rows(part)
    digests = tuple(embeddings.image_sha256[row] for row in rows)
    return dataclasses.replace(embeddings, images=VectorTable(ids, vectors), image_sha256=digests)


def with_captions(
    embeddings: Embeddings,
    encoder: Encoder,
    texts: Iterable[str],
    *,
    progress: Progress = SILENT,
    processes: Processes = ALONE,
) -> Embeddings:
    """The store with some texts encoded again, and no others: none is stale.

    Args:
        embeddings: Gives everything else.
        encoder: Its text tower has changed.
        texts: The texts to encode.
        progress: Shows captions per second, those of this process's part.
        processes: Those that encode a part each; all return the same.

    Raises:
        VectorError: the encoder gives vectors without a direction.
    """
    distinct = tuple(sorted(set(texts)))
    part = caption_vectors(
        encoder,
        distinct[processes.part(len(distinct))],
        batch_size=_BATCH,
        progress=progress,
        of=len(distinct),
    )
    captions = VectorTable(distinct, processes.all_rows(part))
    return dataclasses.replace(embeddings, captions=captions)
