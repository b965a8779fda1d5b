"""A store opened for other programs: rows by id and by place, mapped, in many processes."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import cir
from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.errors import StoreError, UsageError
from tests.support.worlds import random_embeddings, write_store


@pytest.fixture(scope="module")
def made(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    made = random_embeddings(dataset, path=tmp_path_factory.mktemp("store") / "e.h5")
    write_store(made)
    return made


@pytest.fixture
def store(made: Embeddings) -> "cir.EmbeddingStore":
    return cir.EmbeddingStore(made.path)


def test_rows_are_read_by_id_by_place_and_by_slice(store, made: Embeddings) -> None:
    vectors, ids = made.images.vectors, made.images.keys
    assert (store.ids, len(store), store.dim) == (ids, len(ids), 16)
    np.testing.assert_array_equal(store[ids[5]], vectors[5])
    np.testing.assert_array_equal(store[[ids[7], ids[2]]], vectors[[7, 2]])
    np.testing.assert_array_equal(store[3], vectors[3])
    np.testing.assert_array_equal(store[[4, -1]], vectors[[4, -1]])
    np.testing.assert_array_equal(store[10:20:3], vectors[10:20:3])
    text = made.captions.keys[1]
    np.testing.assert_array_equal(store.captions[text], made.captions.vectors[1])
    assert ids[0] in store
    assert text in store.captions
    assert "no such id" not in store


def test_vectors_stay_in_the_file(store) -> None:
    assert isinstance(store[:], np.ndarray)
    assert not store[:].flags.owndata
    assert not store[:].flags.writeable


def test_tensors_have_memory_of_their_own(store, made: Embeddings) -> None:
    tensor = store.torch(slice(2, 5))
    tensor += 1
    assert torch.equal(tensor, torch.from_numpy(made.images.vectors[2:5] + 1))
    np.testing.assert_array_equal(store[2:5], made.images.vectors[2:5])


def test_what_is_not_there_is_one_line(store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="lacks 1 of 2 wanted rows, the first 'nobody'"):
        store[[store.ids[0], "nobody"]]
    with pytest.raises(IndexError):
        store[10**6]
    with pytest.raises(UsageError, match="keys or rows, and not both"):
        store[["a", 1]]
    for key in (True, [True, False]):
        with pytest.raises(UsageError, match="holds True and False; expected keys or rows"):
            store[key]
    for key in (-(10**6), 2**70, [2**70]):
        with pytest.raises(IndexError, match="is out of bounds"):
            store[key]
    with pytest.raises(StoreError, match="no embedding store"):
        cir.EmbeddingStore(tmp_path / "e.h5")


def test_damage_is_noticed(made: Embeddings, tmp_path: Path) -> None:
    whole = bytearray(made.path.read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "e.h5").write_bytes(whole)
    with pytest.raises(StoreError, match="checksum"):
        cir.EmbeddingStore(tmp_path / "e.h5")


def test_a_store_that_was_replaced_is_not_taken_for_the_same(
    made: Embeddings, tmp_path: Path
) -> None:
    path = write_store(made, tmp_path / "e.h5")
    sent = pickle.dumps(cir.EmbeddingStore(path))
    assert pickle.loads(sent).ids == made.images.keys
    write_store(made, path)
    with pytest.raises(StoreError, match="was replaced since"):
        pickle.loads(sent)


@pytest.mark.slow
def test_many_processes_read_one_store(store, made: Embeddings) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        sums = pool.starmap(_sum, [(store, row) for row in range(9)])
    np.testing.assert_array_equal(sums, made.images.vectors[:9].sum(axis=1))


def _sum(store, row: int) -> np.float32:
    return store[row].sum()
