"""Photos that were added while a store was served, once `cir embed` has taken them in."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.store import read_embeddings
from cir.encoding.embedding import image_vectors
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.errors import StoreError
from cir.search.opening import Source, open_gallery
from tests.support.galleries import small_photos
from tests.support.micro import micro_encoder


def test_the_store_counts_for_a_photo_that_it_has_taken_in(tmp_path: Path) -> None:
    """Its precision may be another, and its weight file be called otherwise, than the record's."""
    dataset, out = small_photos(tmp_path / "shop"), tmp_path / "shop.h5"
    encoder, asked = micro_encoder(), {"batch_size": 8, "workers": 0, "on_error": "fail"}
    embed_dataset(dataset, encoder, out, **asked)
    file = dataset.image_path("s2")
    vector = image_vectors(encoder, [file], batch_size=1, workers=0)[0]
    encoded = file.read_bytes()
    digest = hashlib.sha256(encoded).hexdigest()
    other = replace(encoder.provenance, weights_sha256="0" * 64)
    Changes(out).add(AddedPhoto("new", digest, "A title", "", vector, other), encoded)
    with pytest.raises(StoreError, match=r"'new' of .* come from different encoders"):
        open_gallery(Source(out, dataset), read_embeddings(out))
    embed_dataset(dataset, encoder, out, **asked)
    store = read_embeddings(out)
    gallery = open_gallery(Source(out, dataset), store)
    assert gallery.image("new").record.title == "A title"
    found = gallery.vectors_of(np.array([gallery.row("new")]))
    expected = gallery.vectors_of(np.array([gallery.row("s2")]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
