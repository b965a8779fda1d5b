"""Augmented photos: their shape, range and hue."""

import torch

from cir.pretraining.augmentation import augmented
from tests.support.pretraining import random_photos


def test_augmentation_keeps_shape_range_and_hue() -> None:
    red = torch.zeros(6, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 200
    found = augmented(red, torch.Generator().manual_seed(0))
    assert found.shape == red.shape
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not found[:, 1:].any()


def test_augmentation_repeats_by_its_generator() -> None:
    images = random_photos(4, 16)
    one, other = (augmented(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, augmented(images, torch.Generator().manual_seed(4)))
