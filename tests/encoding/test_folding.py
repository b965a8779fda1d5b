"""What was added and removed while a store was served is folded in by embedding again."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from cir.encoding.dataset_embedding import EmbedSummary, embed_dataset
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.staleness import staleness
from tests.support.galleries import small_photos
from tests.support.micro import micro_encoder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_photos(tmp_path_factory.mktemp("folded") / "shop")


def embed(dataset: Dataset, encoder: Encoder, out: Path, **options: bool) -> EmbedSummary:
    return embed_dataset(dataset, encoder, out, batch_size=8, workers=0, on_error="fail", **options)


def add(changes: Changes, image_id: str, file: Path, encoder: Encoder) -> None:
    encoded = file.read_bytes()
    digest = hashlib.sha256(encoded).hexdigest()
    vector = image_vectors(encoder, [file], batch_size=1, workers=0)[0]
    changes.add(AddedPhoto(image_id, digest, "", "", vector, encoder.provenance), encoded)


def changed(dataset: Dataset, encoder: Encoder, out: Path) -> Embeddings:
    """A store, with s1 removed and `new` added, embedded again."""
    embed(dataset, encoder, out)
    changes = Changes(out)
    changes.remove("s1")
    add(changes, "new", dataset.image_path("s2"), encoder)
    found = staleness(dataset, read_embeddings(out))
    assert (found.new, found.gone) == (("new",), ("s1",))
    done = embed(dataset, encoder, out)
    assert (done.encoded, done.dropped, done.written) == (0, 1, True)
    return read_embeddings(out)


def test_the_store_holds_what_was_added_and_not_what_was_removed(
    photos: Dataset, tmp_path: Path
) -> None:
    encoder, out = micro_encoder(), tmp_path / "shop.h5"
    store = changed(photos, encoder, out)
    assert store.images.keys == ("s0", "s2", "s3", "s4", "s5", "new")
    np.testing.assert_allclose(store.images.take(["new"]), store.images.take(["s2"]), rtol=1e-4)
    assert not staleness(photos, store)
    assert not embed(photos, encoder, out).written


@pytest.mark.slow
def test_another_encoder_encodes_added_photos_again(photos: Dataset, tmp_path: Path) -> None:
    out, other = tmp_path / "shop.h5", micro_encoder(seed=1)
    changed(photos, micro_encoder(), out)
    embed(photos, other, out, overwrite=True)
    store = read_embeddings(out)
    assert store.provenance == other.provenance
    np.testing.assert_allclose(store.images.take(["new"]), store.images.take(["s2"]), rtol=1e-4)
