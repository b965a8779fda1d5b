"""Embedding: every image and text, broken ones told apart, killed runs resumed, in one line."""

import json
import multiprocessing
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cir.artefacts.store import read_embeddings
from cir.config import EmbedConfig
from cir.data import image_batches
from cir.data.captions import variants
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding import dataset_embedding
from cir.encoding.blocks import Blocks
from cir.encoding.dataset_embedding import EmbedSummary, caption_texts, embed_dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.errors import (
    CirError,
    DatasetError,
    ImageError,
    UnreadImageError,
    UsageError,
    VectorError,
)
from cir.files import sha256_of
from pipeline import embed
from tests.support.forked import CODE, forked
from tests.support.micro import micro_encoder
from tests.support.worlds import small_dataset

BLOCK, BATCH, IMAGES = 8, 4, 30
"""Three whole blocks of two batches, and one cut short."""


class InterruptedByTestError(Exception):
    """Stands for a kill."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_embedding, "_BLOCK", BLOCK)


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
    """A run that ends once `after` batches of images are encoded; by default in the third block."""
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


def test_a_whole_block_of_broken_images_is_skipped(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    broken = world.image_ids()[BLOCK : 2 * BLOCK]
    break_photos(world, **dict.fromkeys(broken, b""))
    done = embedded(world, encoder, tmp_path / "e.h5", on_error="skip")
    assert list(done.skipped) == broken
    assert done.images == IMAGES - BLOCK


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


@pytest.mark.parametrize("after", [0, 1, 2, 5, 7])
def test_an_interrupted_run_goes_on_where_it_was(
    pristine: Dataset, encoder: Encoder, tmp_path: Path, after: int
) -> None:
    embedded(pristine, encoder, tmp_path / "whole.h5")
    out = tmp_path / "e.h5"
    interrupted(pristine, encoder, out, after)
    assert not out.exists()
    done = embedded(pristine, encoder, out)
    assert done.resumed == after // (BLOCK // BATCH) * BLOCK
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
    assert embedded(pristine, encoder, out).resumed == 2 * BLOCK
    assert list(read_embeddings(out).images.keys) == pristine.image_ids()


KILLED = f"""
import os, signal, sys
from pathlib import Path
from cir.encoding import dataset_embedding
from cir.data.dataset import Dataset
from tests.support.micro import micro_encoder

dataset_embedding._BLOCK = {BLOCK}
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


def test_a_photo_changed_meanwhile_is_encoded_anew(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "e.h5"
    interrupted(world, encoder, out)
    first, last = world.image_ids()[0], world.image_ids()[-1]
    shutil.copyfile(world.image_path(last), world.image_path(first))
    assert embedded(world, encoder, out).resumed == BLOCK
    images = read_embeddings(out).images
    np.testing.assert_allclose(images.take([first]), images.take([last]), atol=1e-5)


def test_blocks_of_another_encoder_are_not_taken(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    interrupted(pristine, encoder, tmp_path / "e.h5")
    other = micro_encoder(dim=16, seed=1)
    assert embedded(pristine, other, tmp_path / "e.h5").resumed == 0


def test_another_batch_size_starts_over(
    pristine: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    interrupted(pristine, encoder, tmp_path / "e.h5")
    assert embedded(pristine, encoder, tmp_path / "e.h5", batch_size=8).resumed == 0


def test_mending_a_photo_or_skipping_it_keeps_what_was_done(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, broken = tmp_path / "e.h5", world.image_ids()[BLOCK + 1]
    whole = world.image_path(broken).read_bytes()
    break_photos(world, **{broken: b""})
    with pytest.raises(ImageError):
        embedded(world, encoder, out)
    skipping = embedded(world, encoder, out, on_error="skip")
    assert (skipping.resumed, list(skipping.skipped)) == (BLOCK, [broken])
    with pytest.raises(ImageError):
        embedded(world, encoder, out)
    world.image_path(broken).write_bytes(whole)
    assert embedded(world, encoder, out).resumed == BLOCK


def test_fail_stops_though_an_earlier_run_skipped(
    world: Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    out, broken = tmp_path / "e.h5", world.image_ids()[1]
    break_photos(world, **{broken: b""})
    interrupted(world, encoder, out, on_error="skip")
    with pytest.raises(ImageError, match=broken):
        embedded(world, encoder, out)


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


@pytest.mark.parametrize("most", [512, 8192])
def test_a_full_disk_leaves_the_old_store_and_no_half(
    pristine: Dataset, encoder: Encoder, tmp_path: Path, most: int
) -> None:
    out = tmp_path / "e.h5"
    out.write_bytes(b"old")
    with small_files(most), pytest.raises(CirError, match=r"cannot write .*too large") as caught:
        embedded(pristine, encoder, out)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == b"old"
    parts = list(Blocks(out).folder.glob("*"))
    assert {file.name.split("-")[0] for file in parts} <= {"images", "captions"}
    assert bool(parts) == (most == 8192)
    done = embedded(pristine, encoder, out)
    assert done.resumed == (IMAGES if parts else 0)
    assert list(tmp_path.iterdir()) == [out]


# ---------------------------------------------------------------------------------------- the stage


@pytest.fixture
def config(world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedConfig:
    monkeypatch.setattr(embed, "load_encoder", lambda *_, **__: micro_encoder(dim=16))
    return EmbedConfig(dataset=world.root, out=tmp_path / "e.h5", batch_size=BATCH, workers=0)


def test_the_stage_prints_what_it_did(
    config: EmbedConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed.run(config) == config.out
    printed = capsys.readouterr().out
    for word in ("micro-resnet", "cpu", "images/s", str(IMAGES), "16"):
        assert word in printed
    assert "skipped" not in printed


def test_the_stage_refuses_a_store_that_exists(config: EmbedConfig) -> None:
    config.out.write_text("here")
    with pytest.raises(UsageError, match="`overwrite=True`"):
        embed.run(config)
    embed.run(replace(config, overwrite=True))
    assert len(read_embeddings(config.out).images.keys) == IMAGES


def test_the_stage_lists_ten_skipped_images(
    config: EmbedConfig, world: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    break_photos(world, **dict.fromkeys(world.image_ids()[:12], b""))
    embed.run(replace(config, on_error="skip"))
    printed = capsys.readouterr().out
    assert "12 images were skipped" in printed
    assert printed.count("empty (0 bytes)") == 10
    assert f"and 2 more: see /skipped in {config.out}" in printed


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
    assert done.resumed == IMAGES - BLOCK
