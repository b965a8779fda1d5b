"""Training photos, as the encoder will see them."""

from pathlib import Path

import pytest
import torch

from cir.data.images import read_image
from cir.encoding.preprocess import build_preprocess, normalise
from cir.encoding.weights.colours import OPENAI_COLOURS
from cir.errors import ImageError
from cir.pretraining.photos import read_squares
from tests.support.worlds import small_dataset


def test_squares_are_what_the_encoder_will_see(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d", images=2, queries=1, size=40)
    files = sorted(dataset.image_files.values())[:3]
    squares = read_squares(files, 32, workers=1)
    assert squares.dtype == torch.uint8
    transform = build_preprocess("targetpad", 32, OPENAI_COLOURS.mean, OPENAI_COLOURS.std)
    for file, square in zip(files, squares, strict=True):
        seen = normalise(square.float() / 255, OPENAI_COLOURS.mean, OPENAI_COLOURS.std)
        torch.testing.assert_close(seen, transform(read_image(file)))


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"x\.jpg"):
        read_squares([tmp_path / "x.jpg"], 16, workers=1)
