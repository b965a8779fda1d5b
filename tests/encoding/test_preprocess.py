"""Photos to pixels."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, functional

from cir.encoding.preprocess import (
    TARGET_RATIO,
    PhotoTransform,
    build_preprocess,
    normalise,
    squared,
)
from cir.encoding.weights.colours import OPENAI_COLOURS
from cir.errors import UsageError
from tests.support.photos import picture

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


def test_pixels_of_a_batch_are_normalised_as_by_the_formula_bit_for_bit() -> None:
    """Along whole rows or number by number: the same operations, each rounded once."""
    transform = build_preprocess("clip", 24, OPENAI_COLOURS.mean, OPENAI_COLOURS.std)
    assert isinstance(transform, PhotoTransform)
    pixels = torch.randint(0, 256, (3, 24, 24, 3), dtype=torch.uint8)
    expected = normalise(
        pixels.permute(0, 3, 1, 2).float() / 255, OPENAI_COLOURS.mean, OPENAI_COLOURS.std
    )
    found = transform.normalised(pixels)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def padded_first(image: Image.Image, most_ratio: float | None, size: int) -> Image.Image:
    """The square in the published order: bars are added to the whole photo, which is resized."""
    if most_ratio is not None:
        needed = round(max(image.size) / most_ratio)
        across, down = (max(needed - edge, 0) for edge in image.size)
        border = (across // 2, down // 2, across - across // 2, down - down // 2)
        image = ImageOps.expand(image, border)
    resized = functional.resize(image, [size], InterpolationMode.BICUBIC, antialias=True)
    return functional.center_crop(resized, [size, size])


@pytest.mark.parametrize("most_ratio", [None, 1.0, TARGET_RATIO])
@pytest.mark.parametrize("shape", [(91, 20), (20, 91), (47, 60), (1, 33), (40, 40)])
def test_the_square_is_that_of_padding_first(
    most_ratio: float | None, shape: tuple[int, int]
) -> None:
    """The edges are resized in another order at most, between which bytes are rounded and cut."""
    image = picture().resize(shape)
    expected = np.asarray(padded_first(image, most_ratio, 24), dtype=int)
    difference = np.abs(np.asarray(squared(image, most_ratio, 24), dtype=int) - expected)
    assert difference.max() <= 4
    assert difference.mean() < 0.2


def test_padding_is_black_and_centred() -> None:
    wide = np.asarray(squared(_white(40, 10), 1.0, 40))
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
