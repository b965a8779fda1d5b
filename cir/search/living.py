"""A gallery with its changes: photos added and removed since its store was made."""

import hashlib

import numpy as np
from jaxtyping import Float32
from PIL import Image

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.provenance import Provenance
from cir.artefacts.vectors import normalised
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.sameness import named_as
from cir.errors import StoreError
from cir.search.gallery import Gallery, ImageRecord


class LivingGallery:
    """Adds and removes photos, on the disk first and then in the gallery: the next search sees it.

    Everything but `photo_bytes` is called from the one thread that searches.
    """

    def __init__(self, gallery: Gallery, changes: Changes, encoder: Encoder) -> None:
        """Takes a gallery that holds its changes already (`apply_changes`).

        Args:
            gallery: What is searched.
            changes: Where changes are kept.
            encoder: The store's.
        """
        self.gallery = gallery
        self._changes, self._encoder = changes, encoder

    def add(
        self, photo: Image.Image, encoded: bytes, *, image_id: str, title: str, category: str
    ) -> None:
        """Adds a photo.

        Args:
            photo: Decoded.
            encoded: The bytes of its file.
            image_id: Its id, which no photo of the gallery has.
            title: Shown with it; may be empty.
            category: Empty for none.

        Raises:
            TakenIdError: another process added a photo of that id.
            StoreError: the change cannot be written.
        """
        added = AddedPhoto(
            id=image_id,
            sha256=hashlib.sha256(encoded).hexdigest(),
            title=title,
            category=category,
            vector=image_vectors(self._encoder, [photo], batch_size=1, workers=0)[0],
            provenance=self._encoder.provenance,
        )
        self._changes.add(added, encoded)
        _show(self.gallery, added, normalised(added.vector[None], image_id)[0])

    def remove(self, image_id: str) -> None:
        """Removes a photo of the gallery."""
        self._changes.remove(image_id)
        self.gallery.remove(image_id)

    def photo_bytes(self, image_id: str) -> bytes | None:
        """The bytes of an added photo's file; None of another id."""
        return self._changes.photo_bytes(image_id)


def apply_changes(gallery: Gallery, changes: Changes, provenance: Provenance) -> None:
    """Brings a gallery up to date with what was changed since its store was made.

    Args:
        gallery: As its store has it.
        changes: What was added and removed since.
        provenance: The store's encoder.

    Raises:
        StoreError: an added photo that the store has not taken in is of another encoder; `cir
            embed` encodes it again.
    """
    for image_id in changes.removed():
        if image_id in gallery:
            gallery.remove(image_id)
    for photo in changes.added():
        if _is_folded(gallery, photo):
            # The store may be of another precision than the record.
            _show(gallery, photo, gallery.vectors_of(np.array([gallery.row(photo.id)]))[0])
            continue
        named_as(photo.provenance, provenance).require_same(
            provenance, f"{photo.id!r} of {changes.path}", "the store", StoreError
        )
        _show(gallery, photo, normalised(photo.vector[None], photo.id)[0])


def _is_folded(gallery: Gallery, photo: AddedPhoto) -> bool:
    """Whether `cir embed` has taken an added photo into the store since."""
    return photo.id in gallery and gallery.digest(gallery.row(photo.id)) == photo.sha256


def _show(gallery: Gallery, photo: AddedPhoto, vector: Float32[np.ndarray, " dim"]) -> None:
    """Puts an added photo into the gallery, in the place of one that has its id."""
    if photo.id in gallery:
        gallery.remove(photo.id)
    categories = (photo.category,) if photo.category else ()
    gallery.add(
        photo.id,
        vector,
        sha256=photo.sha256,
        record=ImageRecord(photo.title, categories),
    )
