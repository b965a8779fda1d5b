"""Principal axes, and the stated error of coordinates along them."""

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.mining.sketch.principal_axes import PrincipalAxes, Rotation
from tests.support.vectors import unit


def turned(vectors: np.ndarray, mean: np.ndarray, rotation: Rotation) -> np.ndarray:
    return rotation.turned(torch.from_numpy(vectors), mean).numpy()


@pytest.mark.parametrize(("dim", "width"), [(3, 1), (64, 40), (65, 64), (640, 16), (640, 320)])
def test_coordinates_are_within_the_stated_error(dim: int, width: int) -> None:
    vectors, mean = unit(300, dim), unit(1, dim)[0].astype(np.float64) / 2
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, width)))[0]
    rotation = Rotation(axes.astype(np.float32))
    off = turned(vectors, mean, rotation) - (vectors - mean) @ axes
    # The axes themselves differ by what single precision took of them.
    assert np.linalg.norm(off, axis=1).max() < rotation.error + 1e-6
    assert rotation.error < 1e-4


def test_axes_become_orthonormal_within_double_precision() -> None:
    rough = np.linalg.qr(np.random.default_rng(0).standard_normal((72, 20)))[0].astype(np.float32)
    vectors = np.eye(72, dtype=np.float32)
    coordinates = turned(vectors, np.zeros(72), Rotation(rough)).astype(np.float64)
    assert np.abs(coordinates.T @ coordinates - np.eye(20)).max() < 1e-6


def test_the_first_axes_hold_what_differs_most() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([0.1, 3, 0.2, 1], np.float32)
    queries, gallery = (rng.standard_normal((500, 4), np.float32) * sizes for _ in range(2))
    axes = PrincipalAxes(queries, gallery)
    assert np.abs(axes.every).argmax(axis=0).tolist() == [1, 3, 2, 0]
    assert axes.first(4) is None
    rotation = axes.first(2)
    assert rotation is not None
    found = turned(normalised(queries, "test"), np.zeros(4), rotation)
    assert found.shape == (500, 2)
