"""The FAISS indexes against NumPy."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.config import IndexKind
from cir.errors import UsageError, VectorError
from cir.mining.faiss_index import CandidateIndex, FlatIndex

CPU = torch.device("cpu")
IMAGES = 10_000
"""Enough to train every index."""


def unit(rows: int, dim: int = 12, seed: int = 0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((rows, dim)), "test")


@pytest.fixture(scope="module")
def gallery() -> np.ndarray:
    return unit(IMAGES)


@pytest.fixture(params=get_args(IndexKind))
def kind(request: pytest.FixtureRequest) -> IndexKind:
    made: IndexKind = request.param
    return made


@pytest.mark.parametrize("k", [1, 7, 50, 500])
def test_search_finds_the_nearest(k: int) -> None:
    few, queries = unit(50), unit(9, seed=1)
    cosines, rows = FlatIndex(few, CPU).search(queries, k)
    expected = np.argsort(-(queries @ few.T), axis=1)[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(
        cosines, np.take_along_axis(queries @ few.T, expected, axis=1), atol=1e-6
    )


@pytest.mark.slow
def test_candidates_are_among_the_nearest(gallery: np.ndarray, kind: IndexKind) -> None:
    queries = unit(20, seed=1)
    index = CandidateIndex(gallery, kind, 200, CPU)
    nearest = np.argsort(-(queries @ gallery.T), axis=1)[:, :20]
    found = [
        np.isin(wanted, its).mean()
        for wanted, its in zip(nearest, index.propose(queries), strict=True)
    ]
    assert np.mean(found) > 0.7


@pytest.mark.slow
def test_as_many_candidates_as_vectors_are_all_of_them(gallery: np.ndarray) -> None:
    index = CandidateIndex(gallery, "ivf", IMAGES + 5, CPU)
    assert index.candidates == IMAGES
    for its in index.propose(unit(3, seed=1)):
        np.testing.assert_array_equal(np.sort(its), np.arange(IMAGES))


@pytest.mark.slow
def test_an_index_is_built_alike_each_time_and_from_a_mapped_file(
    gallery: np.ndarray, kind: IndexKind, tmp_path: Path
) -> None:
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    queries = unit(30, seed=1)
    first, again = (CandidateIndex(each, kind, 50, CPU) for each in (gallery, mapped))
    np.testing.assert_array_equal(first.propose(queries), again.propose(queries))


def test_vectors_that_cannot_be_searched_are_refused() -> None:
    with pytest.raises(VectorError, match="the queries are 5-d; the gallery holds 12-d vectors"):
        FlatIndex(unit(3), CPU).search(unit(2, dim=5), 1)
    with pytest.raises(VectorError, match="holds no vectors"):
        FlatIndex(np.zeros((0, 4), np.float32), CPU)
    with pytest.raises(VectorError, match="holds no vectors"):
        CandidateIndex(np.zeros((0, 4), np.float32), "hnsw", 5, CPU)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("ivf", 39), ("ivfpq", 9984)])
def test_too_few_vectors_to_train_are_refused(kind: IndexKind, least: int) -> None:
    CandidateIndex(unit(least), kind, 5, CPU)
    message = (
        f"`index={kind!r}` is trained on {least:,} vectors or more; the gallery holds {least - 1:,}"
    )
    with pytest.raises(UsageError, match=message):
        CandidateIndex(unit(least - 1), kind, 5, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees_with_the_cpu() -> None:
    some, queries = unit(500), unit(40, seed=1)
    on_gpu, on_cpu = FlatIndex(some, torch.device("cuda")), FlatIndex(some, CPU)
    np.testing.assert_array_equal(on_gpu.search(queries, 10)[1], on_cpu.search(queries, 10)[1])
    whole = CandidateIndex(some, "ivf", 500, torch.device("cuda"))
    assert (np.sort(whole.propose(queries), axis=1) == np.arange(500)).all()
