"""Principal axes, and the stated error of coordinates along them."""

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.mining.sketch.principal_axes import PrincipalAxes, Rotation, moments_of
from tests.support.vectors import unit


def turned(vectors: np.ndarray, mean: np.ndarray, rotation: Rotation) -> np.ndarray:
    return rotation.turned(torch.from_numpy(vectors), mean).numpy()


@pytest.mark.parametrize(("dim", "width"), [(3, 1), (64, 40), (65, 64), (640, 16), (640, 320)])
def test_coordinates_are_within_the_stated_error(dim: int, width: int) -> None:
    vectors, mean = unit(300, dim), unit(1, dim)[0].astype(np.float64) / 2
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, width)))[0]
    rotation = Rotation(axes.astype(np.float32))
    off = turned(vectors, mean, rotation) - (vectors - mean) @ rotation.axes
    farthest = np.linalg.norm(off, axis=1).max()
    assert farthest < rotation.error < 1000 * farthest
    assert rotation.error < 1e-4


def test_axes_become_orthonormal_within_double_precision() -> None:
    rough = np.linalg.qr(np.random.default_rng(0).standard_normal((72, 20)))[0].astype(np.float32)
    axes = Rotation(rough).axes
    off = np.abs(rough.astype(np.float64).T @ rough - np.eye(20)).max()
    assert np.abs(axes.T @ axes - np.eye(20)).max() < 1e-14 < 1e-8 < off
    # Coordinates are those along the same axes: of unit vectors, their components.
    coordinates = turned(np.eye(72, dtype=np.float32), np.zeros(72), Rotation(rough))
    np.testing.assert_allclose(coordinates, axes, rtol=2**-24, atol=0)


def test_the_first_axes_hold_what_differs_most() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([0.1, 3, 0.2, 1], np.float32)
    queries, gallery = (rng.standard_normal((500, 4), np.float32) * sizes for _ in range(2))
    axes = PrincipalAxes(queries, gallery)
    assert np.abs(axes.columns).argmax(axis=0).tolist() == [1, 3, 2, 0]
    assert axes.first(4) is None
    rotation = axes.first(2)
    assert rotation is not None
    found = turned(normalised(queries, "test"), np.zeros(4), rotation)
    assert found.shape == (500, 2)


def test_a_few_leading_axes_are_those_of_all_axes() -> None:
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1, 0.01, 96).astype(np.float32)
    basis = np.linalg.qr(rng.standard_normal((96, 96)))[0].astype(np.float32)
    samples = [(rng.standard_normal((500, 96), np.float32) * sizes) @ basis.T for _ in range(2)]
    every, few = (PrincipalAxes(*samples, most).columns for most in (None, 12))
    assert few.shape == (96, 12)
    np.testing.assert_allclose(few.T @ few, np.eye(12), atol=1e-5)
    # What the few miss of the variance that as many of all axes hold.
    held = [sum(np.square(rows @ axes).sum() for rows in samples) for axes in (every[:, :12], few)]
    assert 0.95 * held[0] < held[1] < 1.00001 * held[0]


@pytest.mark.parametrize("dim", [1, 7, 640])
def test_moments_are_those_of_float64(dim: int) -> None:
    vectors, rng = unit(20, dim), np.random.default_rng(0)
    mean, other = rng.standard_normal((2, dim))
    wide, found = vectors.astype(np.float64), moments_of(vectors, mean, other)
    np.testing.assert_allclose(found.along, wide @ mean, atol=1e-12)
    np.testing.assert_allclose(found.along_other, wide @ other, atol=1e-12)
    np.testing.assert_allclose(found.square, np.square(wide).sum(axis=1), atol=1e-12)
