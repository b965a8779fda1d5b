"""The FAISS index against NumPy."""

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.errors import VectorError
from cir.mining.index import FlatIndex

CPU = torch.device("cpu")


def unit(rows: int, dim: int = 12, seed: int = 0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((rows, dim)), "test")


@pytest.mark.parametrize("k", [1, 7, 50, 500])
def test_search_finds_the_nearest(k: int) -> None:
    gallery, queries = unit(50), unit(9, seed=1)
    cosines, rows = FlatIndex(gallery, CPU).search(queries, k)
    expected = np.argsort(-(queries @ gallery.T), axis=1)[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(
        cosines, np.take_along_axis(queries @ gallery.T, expected, axis=1), atol=1e-6
    )


@pytest.mark.parametrize("threshold", [-1.1, 0.0, 0.5, 0.999])
def test_within_finds_every_pair_above_the_threshold(threshold: float) -> None:
    gallery = unit(50)
    rows, columns = FlatIndex(gallery, CPU).within(gallery[:9], threshold)
    expected = np.argwhere(gallery[:9] @ gallery.T > threshold).tolist()
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [tuple(p) for p in expected]


def test_similarities_are_the_product() -> None:
    gallery, queries = unit(50), unit(9, seed=1)
    out = np.empty((9, 50), np.float32)
    FlatIndex(gallery, CPU).similarities(queries, out=out)
    np.testing.assert_allclose(out, queries @ gallery.T, atol=1e-6)


def test_vectors_that_cannot_be_searched_are_refused() -> None:
    with pytest.raises(VectorError, match="the queries are 5-d; the gallery holds 12-d vectors"):
        FlatIndex(unit(3), CPU).search(unit(2, dim=5), 1)
    with pytest.raises(VectorError, match="holds no vectors"):
        FlatIndex(np.zeros((0, 4), np.float32), CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees_with_the_cpu() -> None:
    gallery, queries = unit(500), unit(40, seed=1)
    on_gpu, on_cpu = FlatIndex(gallery, torch.device("cuda")), FlatIndex(gallery, CPU)
    np.testing.assert_array_equal(on_gpu.search(queries, 10)[1], on_cpu.search(queries, 10)[1])
    outs = np.empty((2, 40, 500), np.float32)
    on_gpu.similarities(queries, out=outs[0])
    on_cpu.similarities(queries, out=outs[1])
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-6)
