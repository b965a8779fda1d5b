"""A trained model loaded in one call."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import cir
from cir.artefacts.vectors import normalised
from cir.config import EmbedConfig
from cir.data import image_batches
from cir.data.dataset import Dataset
from cir.encoding import embedding
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.loading import load_encoder
from cir.errors import CheckpointError, ImageError, UsageError, VectorError
from cir.models.combiner import build_combiner
from tests.support.checkpoints import HIDDEN, saved
from tests.support.micro import micro_encoder
from tests.support.progress import CountingProgress

CPU = torch.device("cpu")
TEXTS = ("is red", "is longer and has a collar", "")


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch):
    """Found whatever published encoder is asked for."""
    made = micro_encoder()
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: made)
    return made


@pytest.fixture
def run(tmp_path: Path, encoder) -> Path:
    """A run whose best combiner is not the last."""
    combiner = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    saved(tmp_path / "run/checkpoints/best", combiner, encoder.provenance)
    other = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    saved(tmp_path / "run/checkpoints/last", other, encoder.provenance)
    return tmp_path / "run"


@pytest.fixture
def files(dataset: Dataset) -> list[Path]:
    return [dataset.image_path(image_id) for image_id in dataset.image_ids()[:70]]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_importing_it_imports_nothing_heavy():
    script = "import sys, cir; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
def test_vectors_are_the_encoders_own_as_unit_vectors(run, encoder, files):
    retriever = cir.load(run, device="cpu")
    images, texts = retriever.encode_images(files), retriever.encode_texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32
    assert images.shape == (70, retriever.dim)
    expected = image_vectors(encoder, files, batch_size=EmbedConfig.batch_size, workers=0)
    np.testing.assert_array_equal(images, normalised(expected, "photos"))
    expected = caption_vectors(encoder, TEXTS, batch_size=3)
    np.testing.assert_allclose(texts, unit(expected), atol=1e-6)


@pytest.mark.parametrize("name", ["", "checkpoints/best", "checkpoints/last"])
def test_queries_are_what_the_checkpoint_composes(run, files, name):
    retriever = cir.load(str(run / name), device="cpu")
    images, texts = retriever.encode_images(files[:3]), retriever.encode_texts(TEXTS)
    queries = retriever.compose(images, texts)
    combiner = build_combiner("attention-fusion", dim=retriever.dim, hidden=HIDDEN)
    which = run / (name or "checkpoints/best")
    combiner.load_state_dict(cir.load(which, device="cpu").checkpoint.combiner)
    with torch.inference_mode():
        expected = combiner(torch.from_numpy(images), torch.from_numpy(texts)).numpy()
    np.testing.assert_allclose(queries, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    one = retriever.query(files[1], TEXTS[1])
    assert one.shape == (retriever.dim,)
    for wrong in ("x" * 1001, "a\0b"):
        with pytest.raises(UsageError, match="`text`"):
            retriever.query(files[1], wrong)
    np.testing.assert_allclose(one, queries[1], atol=1e-5)


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_a_blank_text_is_no_text(run, files, text):
    retriever = cir.load(run, device="cpu")
    (photo,) = retriever.encode_images(files[:1])
    np.testing.assert_array_equal(retriever.query(files[0], text), photo)


def test_best_and_last_are_told_apart(run, files):
    best, last = (cir.load(run / f"checkpoints/{name}") for name in ("best", "last"))
    assert not np.allclose(best.query(files[0], "is red"), last.query(files[0], "is red"))


def test_photos_come_as_files_or_decoded(run, files):
    retriever = cir.load(run, device="cpu")
    given = [files[0], str(files[0]), Image.open(files[0]), Image.open(files[0]).convert("RGBA")]
    vectors = retriever.encode_images(given)
    np.testing.assert_allclose(vectors, vectors[[0] * 4], atol=1e-6)
    assert retriever.encode_images([]).shape == (0, retriever.dim)
    with pytest.raises(ImageError, match="is missing"):
        retriever.encode_images([files[0], Path("nowhere.jpg")])


def test_a_photo_is_turned_as_its_file_says(run, files):
    retriever = cir.load(run, device="cpu")
    photo = Image.open(files[0])
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    upright, lying = retriever.encode_images([photo, turned])
    np.testing.assert_allclose(lying, upright, atol=1e-5)


@pytest.mark.slow
def test_tuned_weights_are_taken_from_the_checkpoint(tmp_path, files):
    bundled = load_encoder(
        "cir-tiny", pretrained=None, weights=None, preprocess="targetpad", device=CPU
    )
    tuned = load_encoder(
        "cir-tiny", pretrained=None, weights=None, preprocess="targetpad", device=CPU
    )
    with torch.no_grad():
        for parameter in tuned.image_parameters().values():
            parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    combiner = build_combiner("sum", dim=bundled.dim)
    where = saved(
        tmp_path / "best", combiner, bundled.provenance, name="sum", clip=tuned.clip, tune="image"
    )
    retriever = cir.load(where, device="cpu")
    found = retriever.encode_images(files[:2])
    expected = image_vectors(tuned, files[:2], batch_size=2, workers=0)
    np.testing.assert_allclose(found, unit(expected), atol=1e-5)
    plain = image_vectors(bundled, files[:2], batch_size=2, workers=0)
    assert not np.allclose(found, unit(plain), atol=1e-2)


@pytest.mark.slow
def test_weights_of_a_file_are_asked_for_and_checked(tmp_path):
    bundled = load_encoder(
        "cir-tiny", pretrained=None, weights=None, preprocess="targetpad", device=CPU
    )
    state = {name: tensor.contiguous() for name, tensor in bundled.clip.state_dict().items()}
    state["logit_scale"] = state["logit_scale"] + 1
    save_file(state, tmp_path / "own.safetensors")
    own = load_encoder(
        "cir-tiny",
        pretrained=None,
        weights=tmp_path / "own.safetensors",
        preprocess="targetpad",
        device=CPU,
    )
    combiner = build_combiner("sum", dim=own.dim)
    where = saved(tmp_path / "best", combiner, own.provenance, name="sum")
    assert cir.load(where, weights=tmp_path / "own.safetensors", device="cpu").dim == own.dim
    with pytest.raises(CheckpointError, match="pass the file that the store was embedded with"):
        cir.load(where, device="cpu")


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        cir.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_workers_decode_and_progress_advances(run, encoder, files, workers, monkeypatch):
    """Each photo is decoded in a process that says which one it is, in its sha256."""

    def decoded_by(photos):
        pids = tuple(f"{os.getpid()}" for _ in photos)
        return dataclasses.replace(plain(photos), sha256=pids)

    plain, seen, encode = image_batches._collate, set(), embedding.encode_photos
    monkeypatch.setattr(image_batches, "_collate", decoded_by)
    monkeypatch.setattr(
        embedding,
        "encode_photos",
        lambda e, batch, n: (seen.update(batch.sha256), encode(e, batch, n))[1],
    )
    progress = CountingProgress()
    retriever = cir.load(run, device="cpu")
    found = retriever.encode_images(files, batch_size=16, workers=workers, progress=progress)
    assert progress.totals == progress.advanced == {"images": 70}
    assert progress.calls == {"images": 5}
    assert len(seen) == max(1, workers)
    assert (str(os.getpid()) in seen) == (workers == 0)
    expected = image_vectors(encoder, files, batch_size=16, workers=0)
    np.testing.assert_array_equal(found, normalised(expected, "photos"))


@pytest.mark.slow
def test_files_and_decoded_photos_are_mixed_in_their_order(run, files):
    retriever = cir.load(run, device="cpu")
    mixed = [Image.open(file) if row % 3 else file for row, file in enumerate(files[:9])]
    found = retriever.encode_images(mixed, batch_size=4, workers=2)
    np.testing.assert_array_equal(found, retriever.encode_images(files[:9], batch_size=4))


def test_one_batch_starts_no_workers(run, files, monkeypatch):
    monkeypatch.setattr("cir.search.retriever.pick_workers", lambda *_: pytest.fail("workers"))
    assert len(cir.load(run, device="cpu").encode_images(files)) == len(files)


@pytest.mark.slow
def test_a_broken_file_is_named_whoever_decodes_it(run, files, tmp_path):
    retriever = cir.load(run, device="cpu")
    (tmp_path / "broken.jpg").write_bytes(files[0].read_bytes()[:-50])
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "folder.jpg").mkdir()
    for name, told in (
        ("broken.jpg", "broken.jpg is damaged"),
        ("text.jpg", "text.jpg is no image"),
        ("folder.jpg", "cannot read .*folder.jpg: Is a directory"),
    ):
        for workers in (0, 2):
            with pytest.raises(ImageError, match=told):
                retriever.encode_images(
                    [*files[:5], tmp_path / name], batch_size=2, workers=workers
                )
    with (
        Image.open(tmp_path / "broken.jpg") as broken,
        pytest.raises(ImageError, match=r"`photos\[1\]` is damaged"),
    ):
        retriever.encode_images([files[0], broken])


def test_photos_and_texts_come_as_any_list(run, files):
    retriever = cir.load(run, device="cpu")
    expected = retriever.encode_images(files[:3])
    for given in (tuple(files[:3]), (str(file) for file in files[:3]), np.array(files[:3], str)):
        np.testing.assert_array_equal(retriever.encode_images(given), expected)
    expected = retriever.encode_texts(TEXTS)
    for given in (list(TEXTS), (text for text in TEXTS), np.array(TEXTS)):
        np.testing.assert_array_equal(retriever.encode_texts(given), expected)


def test_vectors_come_as_arrays_tensors_or_lists(run, files):
    retriever = cir.load(run, device="cpu")
    images, texts = retriever.encode_images(files[:3]), retriever.encode_texts(TEXTS)
    expected = retriever.compose(images, texts)
    for kind in (torch.from_numpy, np.ndarray.tolist, list, lambda v: v.astype(np.float64)):
        np.testing.assert_array_equal(retriever.compose(kind(images), kind(texts)), expected)


def test_misuse_of_a_retriever_is_one_line(run, files):
    retriever = cir.load(run, device="cpu")
    images, texts = retriever.encode_images(files[:3]), retriever.encode_texts(TEXTS)
    spoilt = images.copy()
    spoilt[1, 2] = np.nan
    for call, error, told in (
        (
            lambda: retriever.encode_images("dress.jpg"),
            UsageError,
            "`photos` is 'dress.jpg'; expected a list",
        ),
        (
            lambda: retriever.encode_texts("is red"),
            UsageError,
            "`texts` is 'is red'; expected a list",
        ),
        (lambda: retriever.encode_images([], batch_size=0), UsageError, "`batch_size` is 0"),
        (lambda: retriever.encode_images([], workers=-1), UsageError, "`workers` is -1"),
        (lambda: retriever.encode_texts([], batch_size=0), UsageError, "`batch_size` is 0"),
        (lambda: retriever.compose(images[0], texts), VectorError, r"`images` has shape \(32,\)"),
        (lambda: retriever.compose(images, texts[:, 1:]), VectorError, "`texts` has shape"),
        (lambda: retriever.compose(images, texts[:2]), VectorError, "3 rows, `texts` 2"),
        (lambda: retriever.compose(spoilt, texts), VectorError, r"`images\[1\]` is not finite"),
        (lambda: cir.load(""), UsageError, "`path` is ''; expected a path"),
        (lambda: cir.load(run, device="gpu"), UsageError, "device"),
        (lambda: cir.load(files[0]), CheckpointError, "no checkpoint at"),
    ):
        with pytest.raises(error, match=told) as refused:
            call()
        assert "\n" not in str(refused.value)


def test_a_device_may_be_torchs(run):
    assert cir.load(run, device=CPU).encoder.device == CPU
