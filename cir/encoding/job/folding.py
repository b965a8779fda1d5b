"""Photos that were added while a gallery was served, folded into its store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.gathered_rows import GatheredRows
from cir.artefacts.photo_states import UNKNOWN_STATE
from cir.data.images import decode_image
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.job.embedding_run import EmbeddedImages
from cir.encoding.preprocess import ENOUGH
from cir.encoding.sameness import named_as

_SERVED: Final = "fp32"
"""The precision in which photos are encoded that are added while a gallery is served."""


def with_added(
    images: EmbeddedImages, added: Sequence[AddedPhoto], changes: Changes, encoder: Encoder
) -> EmbeddedImages:
    """A dataset's images, and behind them the photos that were added.

    An added photo has no file but the record of changes: its vector is taken from there, and made
    again from its bytes where another encoder made it, or the store is of another precision.

    Args:
        images: Those of the dataset, without the ids that the changes name.
        added: The photos that were added, of which none is among them.
        changes: Holds the bytes of these.
        encoder: The store's.

    Raises:
        StoreError: the record of changes is damaged.
        ImageError: the bytes of a photo that is encoded again are.
    """
    if not added:
        return images
    vectors = np.stack([_vector(photo, changes, encoder) for photo in added])
    unknown = np.tile(np.array(UNKNOWN_STATE, np.int64), (len(added), 1))
    return replace(
        images,
        ids=(*images.ids, *(photo.id for photo in added)),
        states=np.concatenate([images.states, unknown]),
        sha256=(*images.sha256, *(photo.sha256 for photo in added)),
        vectors=GatheredRows(
            [images.vectors, vectors], np.arange(len(images.ids) + len(added)), encoder.dim
        ),
    )


def _vector(photo: AddedPhoto, changes: Changes, encoder: Encoder) -> Float[np.ndarray, " dim"]:
    same = named_as(photo.provenance, encoder.provenance) == encoder.provenance
    if same and encoder.precision == _SERVED:
        return photo.vector
    encoded, name = changes.photo_bytes(photo.id) or b"", f"{photo.id!r} of {changes.path}"
    image = decode_image(encoded, Path(name), least=ENOUGH * encoder.image_size)
    vectors = image_vectors(encoder, [image], batch_size=1, workers=0)
    vector: Float[np.ndarray, " dim"] = vectors[0]
    return vector
