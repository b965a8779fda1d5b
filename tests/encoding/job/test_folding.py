"""What was added and removed while a store was served is folded in by embedding again."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.photo_states import compare_bytes, require_fresh
from cir.artefacts.store import Embeddings, read_embeddings
from cir.data.dataset import Dataset
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.job.dataset_embedding import EmbedSummary, embed_dataset
from cir.encoding.job.staleness import staleness
from cir.errors import ImageError
from cir.mining.manifest import usable_queries
from tests.support.galleries import small_photos
from tests.support.micro import micro_encoder
from tests.support.worlds import write_store


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


@pytest.fixture
def without_s1(photos: Dataset, tmp_path: Path) -> Path:
    """A store from which s1 was removed since."""
    out = tmp_path / "shop.h5"
    embed(photos, micro_encoder(), out)
    Changes(out).remove("s1")
    return out


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


def test_a_photo_of_the_dataset_that_was_removed_is_listed_as_left_out(
    photos: Dataset, without_s1: Path
) -> None:
    encoder, out = micro_encoder(), without_s1
    listed = {"s1": "removed while the store was served"}
    assert embed(photos, encoder, out).skipped == listed
    store = read_embeddings(out)
    assert store.skipped == listed
    assert usable_queries(photos.queries("val"), store) == ([], 1)
    assert not staleness(photos, store)
    assert not compare_bytes(store, photos)
    assert not embed(photos, encoder, out).written
    assert embed(photos, encoder, out, overwrite=True).skipped == listed
    add(Changes(out), "s1", photos.image_path("s1"), encoder)
    assert embed(photos, encoder, out).skipped == {}


def test_a_photo_that_was_replaced_is_not_compared_with_the_datasets(
    photos: Dataset, without_s1: Path
) -> None:
    encoder, out = micro_encoder(), without_s1
    add(Changes(out), "s1", photos.image_path("s2"), encoder)
    embed(photos, encoder, out)
    store = read_embeddings(out)
    assert store.images.keys[-1] == "s1"
    assert require_fresh(store, photos, stale_ok=False) == 0
    assert not compare_bytes(store, photos)
    Changes(out).path.unlink()
    assert require_fresh(store, photos, stale_ok=True) == 1
    assert compare_bytes(store, photos).changed == ("s1",)


def test_a_store_that_does_not_list_a_removed_photo_is_stale(
    photos: Dataset, tmp_path: Path
) -> None:
    encoder, out = micro_encoder(), tmp_path / "shop.h5"
    Changes(out).remove("s1")
    embed(photos, encoder, out)
    earlier = write_store(replace(read_embeddings(out), skipped={}))
    assert staleness(photos, read_embeddings(earlier)).unlisted == ("s1",)
    assert embed(photos, encoder, out).written
    assert not staleness(photos, read_embeddings(out))


@pytest.mark.parametrize(("precision", "again"), [("fp32", False), ("bf16", True)])
def test_a_store_of_another_precision_encodes_added_photos_again(
    photos: Dataset, tmp_path: Path, precision: str, again: bool
) -> None:
    out, served, encoder = tmp_path / "shop.h5", micro_encoder(), micro_encoder()
    encoder.precision = precision
    embed(photos, encoder, out)
    add(Changes(out), "new", photos.image_path("s2"), served)
    embed(photos, encoder, out)
    found, (photo,) = read_embeddings(out).images.take(["new"])[0], Changes(out).added()
    assert np.array_equal(found, photo.vector) is not again
    np.testing.assert_allclose(found, photo.vector, rtol=0.1, atol=0.1)


def test_an_added_photo_that_cannot_be_encoded_again_is_named(
    photos: Dataset, tmp_path: Path
) -> None:
    out, encoder = tmp_path / "shop.h5", micro_encoder(seed=1)
    vector = np.ones(encoder.dim, np.float32)
    photo = AddedPhoto("new", "a" * 64, "", "", vector, micro_encoder().provenance)
    Changes(out).add(photo, b"no photo")
    with pytest.raises(ImageError, match=r"'new' of .*changes\.sqlite3 is no image"):
        embed(photos, encoder, out)


@pytest.mark.slow
def test_another_encoder_encodes_added_photos_again(photos: Dataset, tmp_path: Path) -> None:
    out, other = tmp_path / "shop.h5", micro_encoder(seed=1)
    changed(photos, micro_encoder(), out)
    embed(photos, other, out, overwrite=True)
    store = read_embeddings(out)
    assert store.provenance == other.provenance
    np.testing.assert_allclose(store.images.take(["new"]), store.images.take(["s2"]), rtol=1e-4)
