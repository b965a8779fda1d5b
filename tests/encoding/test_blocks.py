"""Blocks saved aside: found again by what they were made from, and only whole."""

from pathlib import Path

import numpy as np
import pytest

from cir.encoding.blocks import Blocks, key_of

ARRAYS = {
    "vectors": np.eye(3, dtype=np.float32),
    "ids": np.array(["ä", ""]),
    "no": np.zeros((0, 3)),
}


def test_a_block_is_loaded_as_saved(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path / "out.h5")
    blocks.save("images-1", ARRAYS)
    found = Blocks(tmp_path / "out.h5").load("images-1")
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_what_was_not_saved_is_none(tmp_path: Path) -> None:
    assert Blocks(tmp_path / "out.h5").load("images-1") is None


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_half_a_block_is_none(tmp_path: Path, keep: int) -> None:
    blocks = Blocks(tmp_path / "out.h5")
    blocks.save("images-1", ARRAYS)
    (file,) = blocks.folder.iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert blocks.load("images-1") is None


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path / "out.h5")
    blocks.save("images-1", ARRAYS)
    assert blocks.folder.is_dir()
    blocks.remove()
    blocks.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_of_the_source(tmp_path: Path) -> None:
    source = [{"model": "a", "dim": 4}, [("id", 10, 20)]]
    reordered = [{"dim": 4, "model": "a"}, [("id", 10, 20)]]
    assert key_of("images", source) == key_of("images", reordered)
    others = {
        key_of("captions", source),
        key_of("images", [{"model": "b", "dim": 4}, [("id", 10, 20)]]),
        key_of("images", [{"model": "a", "dim": 4}, [("id", 10, 21)]]),
    }
    assert len(others - {key_of("images", source)}) == 3
