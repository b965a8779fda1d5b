"""The features of a step, against encoding each image and text by itself."""

import numpy as np
import pytest
import torch

from cir.data.images import read_image
from cir.errors import ImageError
from cir.training.towers import FrozenTower, ImageTower, TextTower
from tests.support.micro import micro_encoder

WANTED = [np.array([5, 1, 5, 2]), np.array([0]), np.arange(40) % 37]
"""Rows of three steps, some asked for twice; the last are more than one worker's chunk."""


@pytest.fixture(scope="module")
def encoder():
    return micro_encoder(tower="resnet")


def files_of(dataset):
    return [dataset.image_path(image_id) for image_id in dataset.image_ids()[:37]]


@pytest.mark.parametrize("workers", [0, 1])
def test_tuned_images_are_what_the_encoder_gives(dataset, encoder, workers):
    files = files_of(dataset)
    steps = ImageTower(encoder, files, workers).steps(WANTED)
    for rows, features in zip(WANTED, steps, strict=True):
        pixels = torch.stack([encoder.preprocess(read_image(files[row])) for row in rows])
        expected = encoder.encode_images(pixels)
        torch.testing.assert_close(features(rows), expected, rtol=1e-4, atol=1e-5)
        again = features(rows[:, None])
        assert again.shape == (len(rows), 1, encoder.dim)
        assert torch.equal(again[:, 0], features(rows))
        assert features(rows).requires_grad


def test_tuned_texts_are_what_the_encoder_gives(encoder):
    texts = [f"is {number} shades darker" for number in range(40)]
    for rows, features in zip(WANTED, TextTower(encoder, texts).steps(WANTED), strict=True):
        expected = encoder.encode_texts(encoder.tokenize([texts[row] for row in rows]))
        torch.testing.assert_close(features(rows), expected, rtol=1e-4, atol=1e-5)
        assert features(rows).requires_grad


def test_texts_are_encoded_with_the_weights_of_their_step():
    encoder = micro_encoder(tower="vit")
    steps = TextTower(encoder, ["a", "b"]).steps([np.array([0]), np.array([0])])
    before = next(steps)(np.array([0]))
    with torch.no_grad():
        encoder.clip.text_projection.mul_(-1)
    torch.testing.assert_close(next(steps)(np.array([0])), -before)


def test_frozen_vectors_are_gathered_as_they_are():
    vectors = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    tower = FrozenTower(vectors, torch.device("cpu"))
    for rows, features in zip(WANTED, tower.steps(WANTED), strict=True):
        assert np.array_equal(features(rows).numpy(), vectors[rows])
        assert not features(rows).requires_grad


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_one_line(dataset, encoder, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    steps = ImageTower(encoder, [*files_of(dataset)[:2], broken], workers).steps([np.arange(3)])
    with pytest.raises(ImageError, match=f"{broken} is no image") as refused:
        next(steps)
    assert "\n" not in str(refused.value)
