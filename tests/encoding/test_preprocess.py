"""Photos to pixels."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from cir.encoding.preprocess import TARGET_RATIO, build_preprocess, pad_to_ratio
from cir.errors import UsageError

HALF = (0.5, 0.5, 0.5)


def _white(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


@pytest.mark.parametrize("name", ["targetpad", "squarepad", "clip"])
@pytest.mark.parametrize("shape", [(40, 40), (20, 90), (90, 20), (1, 50), (33, 31)])
def test_any_photo_becomes_a_square_of_float32(name: str, shape: tuple[int, int]) -> None:
    pixels = build_preprocess(name, 24, HALF, HALF)(_white(*shape))
    assert pixels.shape == (3, 24, 24)
    assert pixels.dtype == torch.float32


def test_pixels_are_normalised_by_channel() -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 51))
    pixels = build_preprocess("clip", 8, (0.5, 0.25, 0.2), (0.5, 0.25, 0.1))(image)
    expected = torch.tensor([1.0, -1.0, 0.0])
    torch.testing.assert_close(pixels, expected[:, None, None].expand(3, 8, 8))


@pytest.mark.parametrize(
    ("shape", "padded"),
    [((100, 80), (100, 80)), ((100, 50), (100, 80)), ((50, 100), (80, 100)), ((80, 80), (80, 80))],
)
def test_padding_stops_at_the_target_ratio(shape: tuple[int, int], padded: tuple[int, int]) -> None:
    assert pad_to_ratio(_white(*shape), TARGET_RATIO).size == padded


def test_padding_is_black_and_centred() -> None:
    wide = np.asarray(pad_to_ratio(_white(40, 10), 1.0))
    assert wide.shape == (40, 40, 3)
    assert not wide[:15].any()
    assert (wide[15:25] == 255).all()
    assert not wide[25:].any()


def test_the_three_ways_differ_on_a_wide_photo() -> None:
    """clip loses the sides and shows no bar; squarepad's bars are the widest."""
    image = _white(100, 50)
    dark = {
        name: float((build_preprocess(name, 40, HALF, HALF)(image) < 0).float().mean())
        for name in ("clip", "targetpad", "squarepad")
    }
    assert dark["clip"] == 0
    assert dark["targetpad"] == pytest.approx(0.375, abs=0.05)
    assert dark["squarepad"] == pytest.approx(0.5, abs=0.05)


def test_grey_photos_become_rgb() -> None:
    assert build_preprocess("targetpad", 16, HALF, HALF)(Image.new("L", (20, 20))).shape[0] == 3


def test_worker_processes_can_receive_a_transform() -> None:
    transform = build_preprocess("targetpad", 16, HALF, HALF)
    image = _white(30, 17)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(image), transform(image))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="'pad'; expected one of targetpad, squarepad, clip"):
        build_preprocess("pad", 16, HALF, HALF)
