"""Embedding: every image and text, broken ones told apart, killed runs resumed, in one line."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cir.artefacts.changes import AddedPhoto, Changes
from cir.artefacts.file_rows import FileRows
from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.config import TINY, EmbedConfig
from cir.data import image_batches
from cir.data.captions import variants
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding.clip.bundled import BUNDLED_FILES
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.job import blocks, dataset_embedding, embedding_run
from cir.encoding.job.blocks import Blocks
from cir.encoding.job.dataset_embedding import EmbedSummary, caption_texts, embed_dataset
from cir.encoding.job.libraries import merged
from cir.encoding.job.staleness import staleness
from cir.encoding.loading import load_encoder
from cir.errors import (
    CirError,
    DatasetError,
    ImageError,
    StoreError,
    UnreadImageError,
    UsageError,
    VectorError,
    WeightsError,
)
from cir.machine.processes import Processes
from cir.models.combiner import build_combiner
from pipeline import embed
from tests.support.checkpoints import HIDDEN, saved
from tests.support.digests import sha256_of
from tests.support.forked import CODE, forked
from tests.support.micro import micro_encoder
from tests.support.threads import in_shards
from tests.support.worlds import small_dataset, write_store

BATCH, IMAGES = 4, 30
"""Seven whole batches, and one cut short."""


class InterruptedByTestError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def _saves_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SECONDS", 0.0)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """30 images, which no test may change."""
    root = tmp_path_factory.mktemp("embed") / "dataset"
    return small_dataset(root, categories=("dress",), images=IMAGES // 3, queries=6, size=24)


@pytest.fixture
def world(pristine: Dataset, tmp_path: Path) -> Dataset:
    """A copy to break."""
    return Dataset(Path(shutil.copytree(pristine.root, tmp_path / "dataset")))


@pytest.fixture
def encoder() -> Encoder:
    return micro_encoder(dim=16)


def embedded(dataset: Dataset, encoder: Encoder, out: Path, **changed: Any) -> EmbedSummary:
    how: dict[str, Any] = {"batch_size": BATCH, "workers": 0, "on_error": "fail"}
    return embed_dataset(dataset, encoder, out, **how | changed)


def one_by_one(encoder: Encoder, files: list[Path]) -> np.ndarray:
    """The naive way: a batch an image."""
    with torch.inference_mode():
        rows = [encoder.encode_images(encoder.preprocess(read_image(f))[None]) for f in files]
    return torch.cat(rows).numpy()


def interrupted(
    dataset: Dataset, encoder: Encoder, out: Path, after: int = 5, **changed: Any
) -> None:
    """A run that ends once `after` batches of images are encoded."""
    calls: Iterator[int] = iter(range(after))
    genuine = encoder.encode_images

    def encode(pixels: Tensor) -> Tensor:
        if next(calls, None) is None:
            raise InterruptedByTestError
        return genuine(pixels)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encoder, "encode_images", encode)
        with pytest.raises(InterruptedByTestError):
            embedded(dataset, encoder, out, **changed)


# ---------------------------------------------------------------------------------- what is written


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_and_text_is_in_the_store(
    pristine: Dataset, encoder: Encoder, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "deep" / "e.h5"
    done = embedded(pristine, encoder, out, workers=workers)
    found = read_embeddings(out)
    assert list(found.images.keys) == sorted(pristine.image_ids())
    files = [pristine.image_path(i) for i in found.images.keys]
    np.testing.assert_allclose(found.images.vectors, one_by_one(encoder, files), atol=1e-5)
    assert list(found.image_sha256) == [sha256_of(file) for file in files]
    texts = {t for s in pristine.splits for q in pristine.queries(s) for t in variants(q.captions)}
    assert list(found.captions.keys) == sorted(texts)
    with torch.inference_mode():
        expected = encoder.encode_texts(encoder.tokenize(sorted(texts))).numpy()
    np.testing.assert_allclose(found.captions.vectors, expected, atol=1e-5)
    assert found.provenance == encoder.provenance
    assert (done.images, done.captions, done.resumed) == (IMAGES, len(texts), 0)
    assert done.skipped == found.skipped == {}
    assert done.images_per_second > 0
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
def test_the_functions_in_memory_agree_with_the_store(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    embedded(pristine, encoder, tmp_path / "e.h5")
    found = read_embeddings(tmp_path / "e.h5")
    files = [pristine.image_path(i) for i in found.images.keys]
    images = image_vectors(encoder, files, batch_size=7, workers=0)
    np.testing.assert_allclose(images, found.images.vectors, atol=1e-5)
    texts = caption_vectors(encoder, found.captions.keys, batch_size=5)
    np.testing.assert_allclose(texts, found.captions.vectors, atol=1e-5)


def test_nothing_to_encode_is_no_rows(encoder: Encoder) -> None:
    assert image_vectors(encoder, [], batch_size=4, workers=2).shape == (0, 16)
    assert caption_vectors(encoder, [], batch_size=4).shape == (0, 16)


def test_a_query_without_words_keeps_its_empty_text(world: Dataset) -> None:
    path = world.captions_file("dress", "train")
    rows = json.loads(path.read_text())
    rows[0]["captions"] = ["", " . "]
    path.write_text(json.dumps(rows))
    texts = caption_texts(world)
    assert texts[0] == ""
    assert texts == sorted(set(texts))


# ------------------------------------------------------------------------------------ broken images


def break_photos(dataset: Dataset, **contents: bytes) -> None:
    for image_id, content in contents.items():
        dataset.image_path(image_id).write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_fail_stops_at_the_first_broken_image_in_order(
    world: Dataset,
    encoder: Encoder,
    tmp_path: Path,
    workers: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    break_photos(world, dtr009=b"", dtr002=b"no photo", dva001=b"")
    with pytest.raises(ImageError, match=r"dtr002\.jpg is no image.*`on_error='skip'`") as caught:
        embedded(world, encoder, tmp_path / "e.h5", workers=workers)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "e.h5").exists()
    assert multiprocessing.active_children() == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_skip_leaves_broken_and_missing_images_out(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    half = world.image_path("dtr005").read_bytes()[:300]
    break_photos(world, dtr005=half, dva001=b"")
    world.image_path("dte000").unlink()
    world = Dataset(world.root)
    done = embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    found = read_embeddings(tmp_path / "e.h5")
    assert list(found.skipped) == ["dte000", "dtr005", "dva001"]
    assert found.skipped == done.skipped
    assert found.skipped["dte000"] == f"no file in {world.root / 'images'}"
    assert "damaged" in found.skipped["dtr005"]
    assert "empty (0 bytes)" in found.skipped["dva001"]
    kept = [i for i in world.image_ids() if i not in found.skipped]
    assert list(found.images.keys) == kept
    assert len(found.image_sha256) == done.images == len(kept) == IMAGES - 3
    expected = one_by_one(encoder, [world.image_path(i) for i in kept])
    np.testing.assert_allclose(found.images.vectors, expected, atol=1e-5)


def test_whole_batches_of_broken_images_are_skipped(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    broken = world.image_ids()[BATCH : 3 * BATCH]
    break_photos(world, **dict.fromkeys(broken, b""))
    done = embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    assert list(done.skipped) == broken
    assert done.images == IMAGES - 2 * BATCH


def test_fail_names_the_first_missing_image_and_counts_them(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    for image_id in ("dtr003", "dva001"):
        world.image_path(image_id).unlink()
    world = Dataset(world.root)
    with pytest.raises(ImageError, match=r"2 of 30 images are missing, the first dtr003"):
        embedded(world, encoder, tmp_path / "e.h5")


def test_a_dataset_of_broken_images_makes_no_store(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    break_photos(world, **dict.fromkeys(world.image_ids(), b""))
    with pytest.raises(DatasetError, match="no image that can be read"):
        embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    assert not (tmp_path / "e.h5").exists()


def test_in_memory_the_first_broken_image_is_named(world: Dataset, encoder: Encoder) -> None:
    break_photos(world, dtr002=b"")
    files = [world.image_path(i) for i in world.image_ids()]
    with pytest.raises(ImageError, match=r"dtr002\.jpg is empty"):
        image_vectors(encoder, files, batch_size=4, workers=0)


# ----------------------------------------------------------------------------------------- resuming


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1, 2, 5, 7])
def test_an_interrupted_run_goes_on_where_it_was(
    pristine: Dataset, encoder: Encoder, tmp_path: Path, after: int
) -> None:
    embedded(pristine, encoder, tmp_path / "whole.h5")
    out = tmp_path / "e.h5"
    interrupted(pristine, encoder, out, after)
    assert not out.exists()
    done = embedded(pristine, encoder, out)
    assert done.resumed == after * BATCH
    assert done.encoded == IMAGES - done.resumed
    assert done.images == IMAGES
    whole, resumed = read_embeddings(tmp_path / "whole.h5"), read_embeddings(out)
    np.testing.assert_array_equal(resumed.images.vectors, whole.images.vectors)
    np.testing.assert_array_equal(resumed.captions.vectors, whole.captions.vectors)
    assert resumed.images.keys == whole.images.keys
    assert resumed.image_sha256 == whole.image_sha256
    assert not Blocks(out).folder.exists()


@pytest.mark.slow
def test_a_run_killed_for_good_goes_on_where_it_was(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "e.h5"
    killed = forked(CODE, [KILLED, str(pristine.root), str(out)])
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    assert embedded(pristine, encoder, out).resumed == 5 * BATCH
    assert list(read_embeddings(out).images.keys) == pristine.image_ids()


SHARES = [0.2, 0.2, 0.7]
"""Where the parts of four processes end; one has none."""


class Noon(datetime):
    """A clock that stands."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2026, 1, 1, 12, tzinfo=tz)


def embedded_by(
    shares: list[float], dataset: Dataset, encoders: list[Encoder], out: Path, **changed: Any
) -> EmbedSummary:
    """What several processes give that work together."""

    def embed_part(processes: Processes) -> EmbedSummary:
        with processes.fail_together():
            encoder = encoders[processes.rank]
            return embedded(dataset, encoder, out, processes=processes, **changed)

    first, *others = in_shards(shares, embed_part)
    assert others == [first] * len(shares)
    return first


@pytest.fixture
def encoders() -> list[Encoder]:
    return [micro_encoder(dim=16) for _ in range(4)]


@pytest.mark.slow
def test_processes_write_the_store_of_one(
    world: Dataset, encoders: list[Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.artefacts.store_writing.datetime", Noon)
    monkeypatch.setattr(embedding_run, "_HANDED", 4)
    world.image_path(world.image_ids()[20]).write_bytes(b"broken")
    alone, out = tmp_path / "alone.h5", tmp_path / "e.h5"
    embedded(world, encoders[0], alone, on_error="skip")
    done = embedded_by(SHARES, world, encoders, out, on_error="skip")
    assert (done.images, done.encoded, len(done.skipped)) == (IMAGES - 1, IMAGES - 1, 1)
    assert out.read_bytes() == alone.read_bytes()
    assert not Blocks(out).folder.exists()
    assert not embedded_by(SHARES, world, encoders, out, on_error="skip").written


@pytest.mark.slow
@pytest.mark.parametrize("shares", [SHARES, [0.5], []])
def test_what_processes_did_before_one_ended_is_kept(
    pristine: Dataset,
    encoders: list[Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shares: list[float],
) -> None:
    monkeypatch.setattr(embedding_run, "_MEET_AFTER", 2)
    out, genuine, calls = tmp_path / "e.h5", encoders[2].encode_images, iter(range(2))

    def encode(pixels: Tensor) -> Tensor:
        if next(calls, None) is None:
            raise CirError("its GPU is gone")
        return genuine(pixels)

    with monkeypatch.context() as patched:
        patched.setattr(encoders[2], "encode_images", encode)
        with pytest.raises(CirError, match="its GPU is gone"):
            embedded_by(SHARES, pristine, encoders, out)
    # The first has six, the third ends within its third batch, the fourth has done its nine.
    done = embedded_by(shares, pristine, encoders, out)
    assert done.resumed == 6 + 2 * BATCH + 9
    assert done.encoded == IMAGES - done.resumed
    embedded(pristine, encoders[0], tmp_path / "whole.h5")
    whole, resumed = read_embeddings(tmp_path / "whole.h5"), read_embeddings(out)
    np.testing.assert_array_equal(resumed.images.vectors, whole.images.vectors)
    assert resumed.images.keys == whole.images.keys


@pytest.mark.slow
def test_a_store_is_the_same_byte_for_byte_however_it_came(
    pristine: Dataset, world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    """In one run, by a killed one and two more, and of arrays; three rows are read at a time."""
    whole, grown, held = (tmp_path / name for name in "wgh")
    half = with_ids(world, drop=set(world.image_ids()[1::2]), add=[])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cir.artefacts.store_writing.datetime", Noon)
        patched.setattr("cir.artefacts.rows._AT_ONCE", 3)
        asked = rows_asked_for(patched)
        interrupted(half, encoder, grown, after=2)
        assert embedded(half, encoder, grown).resumed == 2 * BATCH
        shutil.copytree(pristine.root, world.root, dirs_exist_ok=True)
        assert embedded(Dataset(world.root), encoder, grown).kept == IMAGES // 2
        embedded(Dataset(world.root), encoder, whole)
        assert max(asked) <= 3
        store = read_embeddings(whole)
        write_embeddings(held, **{name: getattr(store, name) for name in WRITTEN})
    assert whole.read_bytes() == grown.read_bytes() == held.read_bytes()


WRITTEN = [
    *("images", "captions", "image_sha256", "provenance", "skipped", "image_states"),
    *("precision", "libraries"),
]


def rows_asked_for(patched: pytest.MonkeyPatch) -> list[int]:
    """Notes how many rows are read at a time from the disk."""
    asked, genuine = [0], FileRows.__getitem__

    def noting(rows: FileRows, wanted: Any) -> np.ndarray:
        found = genuine(rows, wanted)
        asked.append(len(found))
        return found

    patched.setattr(FileRows, "__getitem__", noting)
    return asked


KILLED = f"""
import os, signal, sys
from pathlib import Path
from cir.encoding.job import blocks, dataset_embedding
from cir.data.dataset import Dataset
from tests.support.micro import micro_encoder

blocks.SECONDS = 0.0
encoder, calls = micro_encoder(dim=16), []
genuine = encoder.encode_images
def encode(pixels):
    calls.append(1)
    if len(calls) > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return genuine(pixels)
encoder.encode_images = encode
dataset_embedding.embed_dataset(Dataset(Path(sys.argv[1])), encoder, Path(sys.argv[2]),
                        batch_size={BATCH}, workers=1, on_error="fail")
"""


@pytest.mark.slow
def test_a_photo_changed_meanwhile_is_encoded_anew(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "e.h5"
    interrupted(world, encoder, out)
    first, last = world.image_ids()[0], world.image_ids()[-1]
    shutil.copyfile(world.image_path(last), world.image_path(first))
    assert embedded(world, encoder, out).resumed == 5 * BATCH - 1
    images = read_embeddings(out).images
    np.testing.assert_allclose(images.take([first]), images.take([last]), atol=1e-5)


@pytest.mark.slow
def test_what_another_encoder_did_is_not_taken(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    interrupted(pristine, encoder, tmp_path / "e.h5")
    other = micro_encoder(dim=16, seed=1)
    assert embedded(pristine, other, tmp_path / "e.h5").resumed == 0


def test_a_killed_run_goes_on_with_another_batch_size(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    interrupted(pristine, encoder, tmp_path / "e.h5")
    done = embedded(pristine, encoder, tmp_path / "e.h5", batch_size=8)
    assert done.resumed == 5 * BATCH


@pytest.mark.slow
def test_mending_a_photo_or_skipping_it_keeps_what_was_done(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, broken = tmp_path / "e.h5", world.image_ids()[BATCH + 1]
    whole = world.image_path(broken).read_bytes()
    break_photos(world, **{broken: b""})
    with pytest.raises(ImageError):
        embedded(world, encoder, out)
    skipping = embedded(world, encoder, out, on_error="skip")
    assert (skipping.resumed, list(skipping.skipped)) == (BATCH, [broken])
    with pytest.raises(ImageError):
        embedded(world, encoder, out)
    world.image_path(broken).write_bytes(whole)
    mended = embedded(world, encoder, out)
    assert (mended.encoded, mended.kept, mended.skipped) == (1, IMAGES - 1, {})


def test_fail_stops_though_an_earlier_run_skipped(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, broken = tmp_path / "e.h5", world.image_ids()[1]
    break_photos(world, **{broken: b""})
    interrupted(world, encoder, out, on_error="skip")
    with pytest.raises(ImageError, match=broken):
        embedded(world, encoder, out)


# ------------------------------------------------------------------------------- a store that grows


def retouch(dataset: Dataset, image_id: str, seconds: int = 5) -> None:
    """Gives a photo another time of change, and the same bytes."""
    path = dataset.image_path(image_id)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + seconds * 10**9))


@pytest.mark.slow
def test_what_is_new_or_changed_is_encoded_and_the_rest_kept(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, photos = tmp_path / "e.h5", world.root / "images"
    embedded(world, encoder, out)
    before, counting = read_embeddings(out), CountingEncoder()
    changed, touched, gone, renamed = (world.image_ids()[row] for row in (3, 7, 11, 15))
    break_photos(world, **{changed: (photos / "dtr000.jpg").read_bytes()[::-1]})
    Image.new("RGB", (20, 20), "red").save(photos / f"{changed}.jpg")
    retouch(world, touched)
    (photos / f"{renamed}.jpg").rename(photos / "moved.jpg")
    Image.new("RGB", (20, 20), "green").save(photos / "new.jpg")
    now = with_ids(world, drop={gone, renamed}, add=["moved", "new"])
    done = embedded(now, counting.encoder, out, on_error="skip")
    after = read_embeddings(out)
    assert counting.images == done.encoded == 2
    assert (done.changed, done.kept) == (1, IMAGES - 2)
    assert after.images.keys == tuple(now.image_ids())
    for image_id in set(before.images.keys) - {changed, gone, renamed}:
        assert after.images.take([image_id]).tobytes() == before.images.take([image_id]).tobytes()
    assert after.images.take(["moved"]).tobytes() == before.images.take([renamed]).tobytes()
    assert after.image_sha256 == tuple(sha256_of(now.image_path(i)) for i in now.image_ids())
    whole = tmp_path / "whole.h5"
    embedded(now, encoder, whole, on_error="skip")
    assert_same_store(read_embeddings(whole), after)


@pytest.mark.slow
def test_a_store_that_is_up_to_date_stays_as_it_is(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, counting = tmp_path / "e.h5", CountingEncoder()
    embedded(pristine, encoder, out)
    before, changed_at = out.read_bytes(), out.stat().st_mtime_ns
    done = embedded(pristine, counting.encoder, out)
    assert (counting.images, counting.texts, done.written) == (0, 0, False)
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (before, changed_at)


@pytest.mark.slow
def test_captions_are_kept_added_and_dropped_likewise(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, counting = tmp_path / "e.h5", CountingEncoder()
    embedded(world, encoder, out)
    before = read_embeddings(out).captions
    path = world.captions_file("dress", "train")
    rows = json.loads(path.read_text())
    rows[0]["captions"] = ["is entirely new", "is entirely new"]
    path.write_text(json.dumps(rows))
    done = embedded(world, counting.encoder, out)
    after = read_embeddings(out).captions
    new = set(after.keys) - set(before.keys)
    assert counting.images == 0
    assert counting.texts == done.captions_encoded == len(new) > 0
    assert after.keys == tuple(caption_texts(world))
    kept = [text for text in before.keys if text in after.row_of]
    assert after.take(kept).tobytes() == before.take(kept).tobytes()


@pytest.mark.slow
def test_captions_of_queries_that_lack_a_photo_are_not_encoded(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    query = world.queries("val")[0]
    world.image_path(query.target_id).unlink()
    world = Dataset(world.root)
    done = embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    left = [
        q
        for split in world.splits
        for q in world.queries(split)
        if query.target_id not in (q.reference_id, *q.target_ids)
    ]
    expected = {text for q in left for text in variants(q.captions)}
    assert set(read_embeddings(tmp_path / "e.h5").captions.keys) == expected
    assert done.captions == len(expected)


@pytest.mark.slow
def test_overwriting_encodes_everything_again(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, counting = tmp_path / "e.h5", CountingEncoder()
    embedded(pristine, encoder, out)
    done = embedded(pristine, counting.encoder, out, overwrite=True)
    assert counting.images == IMAGES
    assert (done.kept, done.encoded, done.written) == (0, IMAGES, True)


@pytest.mark.slow
def test_a_store_of_an_earlier_version_is_kept_by_the_bytes_of_its_photos(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, counting = tmp_path / "e.h5", CountingEncoder()
    embedded(pristine, encoder, out)
    made = read_embeddings(out)
    write_store(replace(made, image_states=None, precision=None))
    done = embedded(pristine, counting.encoder, out)
    assert (counting.images, done.kept, done.written) == (0, IMAGES, True)
    assert_same_store(read_embeddings(out), made)


@pytest.mark.slow
def test_a_store_of_another_encoder_is_refused(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    embedded(pristine, encoder, tmp_path / "e.h5")
    with pytest.raises(StoreError, match=r"different encoders: weights_sha256.*overwrite=True"):
        embedded(pristine, micro_encoder(dim=16, seed=1), tmp_path / "e.h5")


@pytest.mark.slow
def test_a_store_of_another_precision_is_refused_or_mixed_on_request(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "e.h5"
    embedded(world, encoder, out)
    assert read_embeddings(out).precision == "fp32"
    Image.new("RGB", (20, 20), "red").save(world.image_path("dtr001"))
    encoder.precision = "bf16"
    with pytest.raises(StoreError, match=r"precision fp32, and this run gives bf16: pass `any_pre"):
        embedded(world, encoder, out)
    done = embedded(world, encoder, out, any_precision=True)
    assert (done.encoded, read_embeddings(out).precision) == (1, "fp32+bf16")


@pytest.mark.slow
def test_the_store_says_which_libraries_made_it(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    embedded(pristine, encoder, tmp_path / "e.h5")
    found = read_embeddings(tmp_path / "e.h5").libraries
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert found.keys() == {"torch", "torchvision", "open_clip_torch", "pillow"}
    assert merged({"torch": "1.0"}, {"torch": "2.0"}) == {"torch": "1.0, 2.0"}


@pytest.mark.slow
def test_nothing_is_stale_of_a_store_just_made_and_a_touched_photo_is_not(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    break_photos(world, dtr002=b"")
    embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    retouch(world, "dtr003")
    found = staleness(world, read_embeddings(tmp_path / "e.h5"))
    assert not found
    assert found.touched == ("dtr003",)


@pytest.mark.slow
def test_photos_that_changed_places_are_stale(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    embedded(world, encoder, tmp_path / "e.h5")
    shutil.copy(world.image_path("dtr003"), world.image_path("dtr002"))
    found = staleness(world, read_embeddings(tmp_path / "e.h5"))
    assert (found.changed, found.touched) == (("dtr002",), ())
    assert found


@pytest.mark.slow
def test_what_is_stale_is_told_by_kind(world: Dataset, encoder: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "e.h5"
    break_photos(world, dtr002=b"")
    embedded(world, encoder, out, on_error="skip")
    for image_id in ("dtr002", "dtr004"):
        Image.new("RGB", (20, 20), "red").save(world.image_path(image_id))
    world.image_path("dva001").unlink()
    found = staleness(Dataset(world.root), read_embeddings(out))
    assert found
    assert (found.new, found.changed, found.gone) == (("dtr002",), ("dtr004",), ("dva001",))
    assert set(found.gone_captions) <= set(read_embeddings(out).captions.keys)


class CountingEncoder:
    """Counts what an encoder encodes, without what batches are filled up with."""

    def __init__(self) -> None:
        encoder = micro_encoder(dim=16)
        self.encoder, self.images, self.texts = encoder, 0, 0
        images, texts = encoder.encode_images, encoder.encode_texts

        def encode_images(pixels: Tensor) -> Tensor:
            self.images += len(pixels.flatten(1).unique(dim=0))
            return images(pixels)

        def encode_texts(tokens: Tensor) -> Tensor:
            self.texts += len(tokens.unique(dim=0))
            return texts(tokens)

        encoder.encode_images = encode_images  # type: ignore[method-assign]
        encoder.encode_texts = encode_texts  # type: ignore[method-assign]


def with_ids(dataset: Dataset, drop: set[str], add: list[str]) -> Dataset:
    """The dataset with other ids in its splits, and without the queries of those that are gone."""
    for split in dataset.splits:
        path = dataset.split_file("dress", split)
        ids = [i for i in json.loads(path.read_text()) if i not in drop]
        path.write_text(json.dumps([*ids, *(add if split == "train" else [])]))
        captions = dataset.captions_file("dress", split)
        rows = json.loads(captions.read_text())
        captions.write_text(json.dumps([row for row in rows if not drop & _named(row)]))
    return Dataset(dataset.root)


def _named(row: dict[str, Any]) -> set[str]:
    return {row["candidate"], row.get("target", row["candidate"])}


def assert_same_store(one: Embeddings, other: Embeddings) -> None:
    """Every row of one is that of the other, byte for byte."""
    assert one.images.keys == other.images.keys
    assert one.image_sha256 == other.image_sha256
    assert one.captions.keys == other.captions.keys
    assert one.skipped == other.skipped
    np.testing.assert_array_equal(one.image_states, other.image_states)
    np.testing.assert_array_equal(one.images.vectors, other.images.vectors)
    np.testing.assert_array_equal(one.captions.vectors, other.captions.vectors)


# --------------------------------------------------------------------------- bad vectors, full disk


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_images_without_a_direction_are_named(
    pristine: Dataset,
    encoder: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
) -> None:
    spoil(encoder, monkeypatch, "encode_images", value)
    name = pristine.image_ids()[1]
    with pytest.raises(VectorError, match=rf"1 of a batch of 4, as for '{name}'.*fp32") as caught:
        embedded(pristine, encoder, tmp_path / "e.h5", on_error="skip")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "e.h5").exists()


def test_texts_without_a_direction_are_named(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(encoder, monkeypatch, "encode_texts", float("nan"))
    with pytest.raises(VectorError, match="as for 'is blue'"):
        caption_vectors(encoder, ["is red", "is blue", "is long"], batch_size=4)


def spoil(encoder: Encoder, monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Replaces the second row of each output."""
    genuine: Callable[[Tensor], Tensor] = getattr(encoder, name)

    def encode(inputs: Tensor) -> Tensor:
        outputs = genuine(inputs).clone()
        outputs[1] = value
        return outputs

    monkeypatch.setattr(encoder, name, encode)


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may grow past `most` bytes: what a full disk is to the writer of one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("most", [512, 8192])
def test_a_full_disk_leaves_the_old_store_and_no_half(
    pristine: Dataset, encoder: Encoder, tmp_path: Path, most: int
) -> None:
    out = tmp_path / "e.h5"
    out.write_bytes(b"old")
    with small_files(most), pytest.raises(CirError, match=r"cannot write .*too large") as caught:
        embedded(pristine, encoder, out, overwrite=True)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == b"old"
    parts = list(Blocks(out).folder.glob("*"))
    assert {file.name.split("-")[0] for file in parts} <= {"images", "captions"}
    assert bool(parts) == (most == 8192)
    done = embedded(pristine, encoder, out, overwrite=True)
    assert done.resumed == (IMAGES if parts else 0)
    assert list(tmp_path.iterdir()) == [out]


# ---------------------------------------------------------------------------------------- the stage


@pytest.fixture
def config(world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedConfig:
    monkeypatch.setattr(embed, "load_encoder", lambda *_, **__: micro_encoder(dim=16))
    return EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", batch_size=BATCH, workers=0)


@pytest.mark.slow
def test_the_stage_prints_what_it_did(
    config: EmbedConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed.run(config) == config.out
    printed = capsys.readouterr().out
    for word in ("micro-resnet", "cpu", "images/s", str(IMAGES), "16"):
        assert word in printed
    assert "skipped" not in printed


@pytest.mark.slow
def test_the_stage_adds_to_a_store_and_says_so(
    config: EmbedConfig, world: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    embed.run(config)
    embed.run(config)
    assert "was up to date: it stays as it is, byte for byte" in capsys.readouterr().out
    Image.new("RGB", (20, 20), "red").save(world.image_path("dtr001"))
    embed.run(config)
    printed = " ".join(capsys.readouterr().out.split())
    assert "29 images were kept as they were, 0 dropped; 1 encoded, 1 of them for a" in printed


@pytest.mark.slow
def test_the_stage_checks_without_an_encoder(
    config: EmbedConfig,
    world: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    embed.run(config)
    monkeypatch.setattr(embed, "load_encoder", None)
    monkeypatch.setattr(embed, "require_used", lambda *_: None)  # it knows no micro-resnet
    checked = replace(config, check=True, model="micro-resnet")
    assert embed.run(checked) is True
    assert "is up to date: 30 images" in capsys.readouterr().out
    Image.new("RGB", (20, 20), "red").save(world.image_path("dtr001"))
    before = config.out.read_bytes()
    assert embed.run(replace(config, check=True)) is False
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 photos are others under the same id: 'dtr001'" in printed
    assert "the store is of --model micro-resnet, and RN50x4 is asked for" in printed
    assert config.out.read_bytes() == before


@pytest.mark.slow
def test_a_store_is_added_to_with_the_weights_that_made_it(
    world: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", model=TINY, workers=0)
    earlier = replace(plain, pretrained="bundled")
    embed.run(earlier)
    before = plain.out.read_bytes()
    assert embed.run(plain) == plain.out
    assert "was up to date" in capsys.readouterr().out
    with pytest.raises(StoreError, match="pretrained bundled-60 here and bundled there"):
        embed.run(replace(plain, pretrained="bundled-60"))
    assert embed.run(replace(plain, check=True, pretrained="bundled-60")) is False
    told = "the store is of --pretrained bundled, and bundled-60 is asked for"
    assert told in " ".join(capsys.readouterr().out.split())
    assert plain.out.read_bytes() == before
    embed.run(replace(plain, overwrite=True))
    assert read_embeddings(plain.out).provenance.pretrained == "bundled-60"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["run", "run/checkpoints/best"])
def test_a_run_says_which_encoder_its_weights_are_of(
    world: Dataset, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="squarepad", device=torch.device("cpu")
    )
    combiner = build_combiner("attention-fusion", dim=tiny.dim, hidden=HIDDEN)
    saved(tmp_path / "run/checkpoints/best", combiner, tiny.provenance, clip=tiny.clip)
    run = tmp_path / place
    asked = EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", weights=run, workers=0)
    embed.run(asked)
    made = read_embeddings(asked.out).provenance
    assert (made.model, made.preprocess) == (TINY, "squarepad")
    told = f"model and preprocessing are those of {run}: {TINY}, squarepad"
    assert told.replace(" ", "") in "".join(capsys.readouterr().out.split())
    assert embed.run(replace(asked, check=True)) is True
    embed.run(replace(asked, model=TINY, preprocess="squarepad"))
    assert "are those of" not in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"`model` is 'RN50', .* pass `model='cir-tiny'`"):
        embed.run(replace(asked, model="RN50"))


def test_a_run_says_which_published_weights_its_own_derive_from(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tag a ViT-B-32 of OpenAI would lose its QuickGELU, without a word."""
    origin = replace(micro_encoder().provenance, model="ViT-B-32", pretrained="openai")
    combiner = build_combiner("attention-fusion", dim=origin.embed_dim, hidden=HIDDEN)
    saved(tmp_path / "run", combiner, origin)
    asked = EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", weights=tmp_path / "run")

    def loaded(model: str, *, pretrained: str | None, **_: object) -> None:
        raise WeightsError(f"{model} {pretrained}")

    monkeypatch.setattr(embed, "load_encoder", loaded)
    for pretrained in (None, "openai", "run"):
        with pytest.raises(WeightsError, match="ViT-B-32 openai"):
            embed.run(replace(asked, pretrained=pretrained))
    with pytest.raises(UsageError, match=r"'cc12m', and .* a run over ViT-B-32 openai: leave it"):
        embed.run(replace(asked, pretrained="cc12m"))


@pytest.mark.slow
def test_checking_compares_the_weights_of_a_file_with_the_stores(
    world: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.copy(BUNDLED_FILES["bundled"], tmp_path / "mine.safetensors"))
    plain = EmbedConfig(
        dataset=world.root, out=tmp_path / "e.h5", model=TINY, weights=file, workers=0
    )
    embed.run(plain)
    checked = replace(plain, check=True)
    assert embed.run(checked) is True
    moved = replace(checked, weights=Path(shutil.copy(file, tmp_path / "moved.safetensors")))
    assert embed.run(moved) is True
    capsys.readouterr()
    assert embed.run(replace(checked, weights=BUNDLED_FILES["bundled-60"])) is False
    assert re.search(
        r"the store is of weights \S+ \(mine\.safetensors\), and those of --weights \S+ are \S+…",
        " ".join(capsys.readouterr().out.split()),
    )
    with pytest.raises(WeightsError, match=r"no weight file at .*gone\.safetensors"):
        embed.run(replace(checked, weights=tmp_path / "gone.safetensors"))


@pytest.mark.parametrize(
    ("pretrained", "weights", "told"),
    [
        ("openai", None, []),
        (
            "yfcc15m",
            None,
            ["the store is of `pretrained='openai:RN50.pt'`, and yfcc15m is asked for"],
        ),
        ("openai", Path("RN50.pt"), []),
        (
            "yfcc15m",
            Path("RN50.pt"),
            ["the store is of `pretrained='openai:RN50.pt'`, and yfcc15m:RN50.pt is asked for"],
        ),
    ],
)
def test_checking_compares_tags_whatever_file_stands_behind_them(
    config: EmbedConfig,
    monkeypatch: pytest.MonkeyPatch,
    pretrained: str,
    weights: Path | None,
    told: list[str],
) -> None:
    def load(*_: object, **how: Any) -> Encoder:
        encoder = micro_encoder(dim=16)
        named = ":".join(map(str, filter(None, [how["pretrained"], how["weights"]])))
        encoder.provenance = replace(encoder.provenance, pretrained=named)
        return encoder

    monkeypatch.setattr(embed, "load_encoder", load)
    monkeypatch.setattr(embed, "require_used", lambda *_: None)
    asked = replace(config, model="micro-resnet", pretrained="openai", weights=Path("RN50.pt"))
    embed.run(asked)
    store = read_embeddings(config.out)
    checked = replace(asked, pretrained=pretrained, weights=weights)
    of = embed._Architecture.of(checked)
    assert list(embed._differences(checked, of, store)) == told


@pytest.mark.slow
def test_a_store_is_added_to_by_its_weights_under_another_file_name(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, moved = tmp_path / "e.h5", micro_encoder(dim=16)
    moved.provenance = replace(encoder.provenance, pretrained="moved.pt")
    interrupted(world, encoder, out)
    assert embedded(world, moved, out).resumed > 0
    before = out.read_bytes()
    assert not embedded(world, encoder, out).written
    assert out.read_bytes() == before
    Image.new("RGB", (20, 20), "red").save(world.image_path("dtr001"))
    done = embedded(world, encoder, out)
    assert (done.encoded, done.written) == (1, True)
    assert read_embeddings(out).provenance == moved.provenance


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_stage_leaves_what_is_no_store(config: EmbedConfig, overwrite: bool) -> None:
    config.out.write_text("here")
    with pytest.raises(UsageError, match="so it stays as it is"):
        embed.run(replace(config, overwrite=overwrite))
    assert config.out.read_text() == "here"


@pytest.mark.slow
def test_a_damaged_store_is_refused_and_replaced_when_asked(config: EmbedConfig) -> None:
    embed.run(config)
    whole = config.out.read_bytes()
    config.out.write_bytes(whole[:-500])
    with pytest.raises(StoreError, match=r"(cut off|checksum).*: pass `overwrite=True` to make"):
        embed.run(config)
    embed.run(replace(config, overwrite=True))
    assert len(read_embeddings(config.out).images.keys) == IMAGES


def test_a_store_with_a_vector_that_is_no_number_is_made_afresh_when_asked(
    config: EmbedConfig,
) -> None:
    embed.run(config)
    with h5py.File(config.out, "r+") as file:
        file["images/embedding"][1] = np.nan
    with pytest.raises(StoreError, match="row 1 is not finite; pass `overwrite=True` to make it"):
        embed.run(config)
    embed.run(replace(config, overwrite=True))
    assert len(read_embeddings(config.out).images.keys) == IMAGES


def test_a_photo_that_is_added_while_others_are_encoded_waits(
    config: EmbedConfig, world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a server beside the command; its id is one of the dataset's."""
    encoder, images = micro_encoder(dim=16), embedding_run.EmbeddingRun.images
    name = world.image_ids()[0]
    vector = np.ones(16, np.float32)
    photo = AddedPhoto(name, "a" * 64, "", "dress", vector, encoder.provenance)

    def adding(self: Any, *given: Any) -> Any:
        Changes(config.out).add(photo, b"bytes")
        return images(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(embedding_run.EmbeddingRun, "images", adding)
        embed.run(config)
    first = read_embeddings(config.out).images
    assert sorted(first.keys) == sorted(world.image_ids())
    assert not np.array_equal(first.take([name])[0], vector)
    embed.run(config)
    then = read_embeddings(config.out).images
    assert sorted(then.keys) == sorted(world.image_ids())
    np.testing.assert_array_equal(then.take([name])[0], vector)


def test_the_stage_lists_the_encoders_without_a_dataset(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert embed.run(EmbedConfig(dataset=Path("nowhere"), list_models=True)) is True
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cir-tiny: bundled-60, bundled"
    assert any(line.startswith("RN50x4: openai") for line in lines)


@pytest.mark.slow
def test_the_stage_lists_ten_skipped_images(
    config: EmbedConfig, world: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    break_photos(world, **dict.fromkeys(world.image_ids()[:12], b""))
    embed.run(replace(config, on_error="skip"))
    printed = capsys.readouterr().out
    assert "12 images were skipped" in printed
    assert printed.count("empty (0 bytes)") == 10
    assert f"and 2 more: see /skipped in {config.out}" in printed


@pytest.mark.slow
def test_what_is_cut_and_what_is_in_no_split_is_told(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    file = world.captions_file("dress", "train")
    rows = json.loads(file.read_text())
    rows[0]["captions"] = ["is much longer " * 200, "is red"]
    file.write_text(json.dumps(rows))
    shutil.copy(world.image_path("dtr000"), world.root / "images" / "more.jpg")
    done = embedded(Dataset(world.root), encoder, tmp_path / "e.h5")
    assert len(done.cut) == 3
    assert all("much longer" in text for text in done.cut)
    assert done.unlisted == ("more",)


@pytest.mark.slow
def test_a_file_that_the_system_refused_is_read_again(
    world: Dataset, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is killed when it writes the store; what it could not read was not kept."""
    out, path = tmp_path / "e.h5", world.image_path("dtr005")
    genuine = image_batches.image_bytes

    def refusing(file: Path) -> bytes:
        if file == path:
            raise UnreadImageError(f"cannot read {file}: Permission denied")
        return genuine(file)

    def killed(*_: object, **__: object) -> None:
        raise InterruptedByTestError

    with monkeypatch.context() as patch:
        patch.setattr(image_batches, "image_bytes", refusing)
        patch.setattr(dataset_embedding, "write_embeddings", killed)
        with pytest.raises(InterruptedByTestError):
            embedded(world, encoder, out, on_error="skip")
    done = embedded(world, encoder, out, on_error="skip")
    assert done.skipped == {}
    assert done.resumed == IMAGES - 1


@pytest.mark.parametrize("change", [{"captions": ["is red\0"]}, {"target": "elsewhere"}])
def test_a_faulty_annotation_is_told_before_any_photo_is_read(
    world: Dataset, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    file = world.captions_file("dress", "val")
    rows = json.loads(file.read_text())
    file.write_text(json.dumps([*rows, rows[0] | change]))
    monkeypatch.setattr(image_batches, "image_bytes", lambda _: pytest.fail("a photo was read"))
    with pytest.raises(DatasetError, match=r"cap\.dress\.val\.json"):
        embedded(world, encoder, tmp_path / "e.h5")
