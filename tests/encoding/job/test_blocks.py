"""Blocks saved aside: found again by what they were made from, and only whole."""

from pathlib import Path

import numpy as np
import pytest

from cir.encoding.job import blocks
from cir.encoding.job.blocks import Blocks, SavedRows, as_bytes, as_texts, key_of

ARRAYS = {
    "vectors": np.eye(3, dtype=np.float32),
    "ids": np.array(["ä", ""]),
    "no": np.zeros((0, 3)),
}


def test_blocks_are_loaded_batch_by_batch_as_saved(tmp_path: Path) -> None:
    made, other = Blocks(tmp_path / "out.h5"), {"vectors": np.zeros((1, 3))}
    made.save("images-1", [ARRAYS, other])
    made.save("images-1", [other])
    made.save("images-2", [other])
    found = list(Blocks(tmp_path / "out.h5").load_all("images-1"))
    assert [batch.keys() for batch in found] == [ARRAYS.keys(), other.keys(), other.keys()]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[0][name], array)
        assert found[0][name].dtype == array.dtype


def test_what_was_not_saved_is_nothing(tmp_path: Path) -> None:
    assert list(Blocks(tmp_path / "out.h5").load_all("images-1")) == []


@pytest.mark.parametrize("keep", [0, 10, 200, 700])
def test_half_a_block_is_nothing(tmp_path: Path, keep: int) -> None:
    made = Blocks(tmp_path / "out.h5")
    made.save("images-1", [ARRAYS])
    (file,) = made.folder.iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert list(made.load_all("images-1")) == []


def test_a_changed_byte_anywhere_leaves_nothing_of_a_block(tmp_path: Path) -> None:
    made = Blocks(tmp_path / "out.h5")
    made.save("images-1", [ARRAYS])
    (file,) = made.folder.iterdir()
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert list(made.load_all("images-1")) == []


@pytest.mark.parametrize("texts", [(), ("", "ä", "a\0", "\ud800", "x" * 9999)])
def test_texts_come_back_whatever_they_hold(texts: tuple[str, ...]) -> None:
    assert as_texts(as_bytes(texts)) == texts


def test_rows_are_saved_when_it_is_time_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Blocks(tmp_path / "out.h5")
    clock = iter([0.0, 1.0, 6.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(blocks.time, "monotonic", lambda: next(clock))
    with SavedRows(made, "images-1") as saved:
        saved.add(ARRAYS)
        assert not made.folder.exists()
        saved.add(ARRAYS)
        assert len(list(made.folder.iterdir())) == 1
        saved.add(ARRAYS)
    assert len(list(made.folder.iterdir())) == 2
    assert len(list(made.load_all("images-1"))) == 3


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    made = Blocks(tmp_path / "out.h5")
    made.save(key_of("images", {}), [ARRAYS])
    assert made.folder.is_dir()
    made.remove()
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_others_put_beside_the_blocks_stays(tmp_path: Path) -> None:
    made = Blocks(tmp_path / "e.h5")
    made.save(key_of("images", {}), [{"rows": np.arange(3)}])
    (made.folder / "mine").mkdir()
    for name in ("notes.txt", "mine/1.txt"):
        (made.folder / name).write_text("mine")
    made.remove()
    assert sorted(path.name for path in made.folder.iterdir()) == ["mine", "notes.txt"]
    assert (made.folder / "mine/1.txt").read_text() == "mine"


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
