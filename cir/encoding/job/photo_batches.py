"""A job's photos through the encoder, batch by batch, with what a store keeps of each."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cir.encoding.embedding import encoded_photos, photos_of, spans_of
from cir.encoding.encoder import Encoder
from cir.encoding.job.known_images import EncodedImages, ImagePlan


@dataclass(frozen=True, eq=False)
class PhotosToEncode:
    """Photos that are to be encoded."""

    ids: tuple[str, ...]
    states: Int[np.ndarray, "photos 2"]
    """Size and time of change of each file, before it is read."""

    @classmethod
    def of(cls, plan: ImagePlan) -> "PhotosToEncode":
        """Those that a plan names."""
        return cls(plan.to_encode, plan.states[plan.missing])

    @classmethod
    def none(cls) -> "PhotosToEncode":
        """No photos."""
        return cls((), np.zeros((0, 2), np.int64))

    def __getitem__(self, part: slice) -> "PhotosToEncode":
        return PhotosToEncode(self.ids[part], self.states[part])


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """A batch that is done."""

    images: EncodedImages
    faults: dict[str, str]
    """The photos that could not be read, by id, with one line that says why."""

    @property
    def photos(self) -> int:
        """How many photos it had."""
        return len(self.images.ids) + len(self.faults)


def encoded_batches(
    encoder: Encoder, photos: PhotosToEncode, files: Sequence[Path], *, rows: int, workers: int
) -> Generator[EncodedBatch, None, None]:
    """Reads and encodes photos.

    Args:
        encoder: Should be in eval mode.
        photos: What to encode.
        files: The file of each.
        rows: Photos a batch; a short one is filled up (`cir.encoding.batching`).
        workers: Processes that decode and preprocess; 0 does it in this one.

    Raises:
        VectorError: the encoder gave a vector without direction.
        CirError: a worker was killed.
    """
    spans = spans_of(range(len(files)), rows)
    with closing(photos_of(encoder, files, spans, workers)) as stream:
        for batch, vectors in encoded_photos(encoder, stream, photos.ids, len(spans), rows=rows):
            images = EncodedImages(
                ids=tuple(photos.ids[row] for row in batch.rows),
                states=photos.states[list(batch.rows)],
                sha256=batch.sha256,
                vectors=vectors,
            )
            yield EncodedBatch(images, {photos.ids[r]: why for r, why in batch.faults.items()})
