"""A trained model loaded in one call."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import cir
from cir.data.dataset import Dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import load_encoder
from cir.errors import CheckpointError, ImageError
from cir.models.combiner import build_combiner
from tests.support.checkpoints import HIDDEN, saved
from tests.support.micro import micro_encoder

CPU = torch.device("cpu")
TEXTS = ("is red", "is longer and has a collar", "")


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch):
    """Found whatever published encoder is asked for."""
    made = micro_encoder()
    monkeypatch.setattr("cir.encoding.origin.load_encoder", lambda *_, **__: made)
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


def test_vectors_are_the_encoders_own_as_unit_vectors(run, encoder, files):
    retriever = cir.load(run, device="cpu")
    images, texts = retriever.encode_images(files), retriever.encode_texts(TEXTS)
    assert images.dtype == texts.dtype == np.float32
    assert images.shape == (70, retriever.dim)
    expected = image_vectors(encoder, files, batch_size=64, workers=0)
    np.testing.assert_allclose(images, unit(expected), atol=1e-6)
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
    np.testing.assert_allclose(one, queries[1], atol=1e-5)


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
    combiner = build_combiner("sum", dim=bundled.dim, hidden=HIDDEN)
    where = saved(
        tmp_path / "best", combiner, bundled.provenance, name="sum", clip=tuned.clip, tune="image"
    )
    retriever = cir.load(where, device="cpu")
    found = retriever.encode_images(files[:2])
    expected = image_vectors(tuned, files[:2], batch_size=2, workers=0)
    np.testing.assert_allclose(found, unit(expected), atol=1e-5)
    plain = image_vectors(bundled, files[:2], batch_size=2, workers=0)
    assert not np.allclose(found, unit(plain), atol=1e-2)


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
    combiner = build_combiner("sum", dim=own.dim, hidden=HIDDEN)
    where = saved(tmp_path / "best", combiner, own.provenance, name="sum")
    assert cir.load(where, weights=tmp_path / "own.safetensors", device="cpu").dim == own.dim
    with pytest.raises(CheckpointError, match="pass the file that the store was embedded with"):
        cir.load(where, device="cpu")


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        cir.load(tmp_path)
