"""Vectors that are read a block of rows at a time, from a file or from several tables."""

import os
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.file_rows import FileRows
from cir.artefacts.gathered_rows import GatheredRows
from cir.artefacts.rows import KeyedRows, Rows, blocks_of
from cir.artefacts.vectors import require_directions
from cir.errors import StoreError, VectorError

VECTORS = np.arange(1, 19, dtype=np.float32).reshape(6, 3)
ORDERS = [[], [0, 1, 2, 3, 4, 5], [5, 0, 1, 3], [2, 2, 2], [4]]


def in_file(path: Path, vectors: np.ndarray) -> FileRows:
    """Vectors behind seven bytes of something else, in a file that is closed."""
    path.write_bytes(b"a head." + vectors.astype("<f4").tobytes() + b"a tail")
    with path.open("rb") as file:
        return FileRows(file.fileno(), 7, vectors.shape)


@pytest.mark.parametrize("order", ORDERS)
def test_rows_of_a_file_are_those_of_the_array(tmp_path: Path, order: list[int]) -> None:
    rows, chosen = in_file(tmp_path / "rows", VECTORS), np.array(order, np.int64)
    assert isinstance(rows, Rows)
    np.testing.assert_array_equal(rows[chosen], VECTORS[chosen])
    for part in (slice(None), slice(2, 4), slice(4, 99), slice(7, 9)):
        np.testing.assert_array_equal(rows[part], VECTORS[part])


def test_a_file_is_read_though_another_took_its_place(tmp_path: Path) -> None:
    rows = in_file(tmp_path / "rows", VECTORS)
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "other").replace(tmp_path / "rows")
    np.testing.assert_array_equal(rows[:], VECTORS)


def test_a_file_that_was_cut_off_is_told(tmp_path: Path) -> None:
    rows = in_file(tmp_path / "rows", VECTORS)
    os.truncate(tmp_path / "rows", 40)
    np.testing.assert_array_equal(rows[:2], VECTORS[:2])
    with pytest.raises(StoreError, match="was cut off"):
        rows[2:3]


@pytest.mark.parametrize("order", ORDERS)
def test_rows_of_several_tables_are_counted_through(tmp_path: Path, order: list[int]) -> None:
    tables = [VECTORS[:2], VECTORS[:0], in_file(tmp_path / "rows", VECTORS[2:])]
    chosen = np.array(order, np.int64)
    rows = GatheredRows(tables, chosen, 3)
    assert (len(rows), rows.shape) == (len(order), (len(order), 3))
    np.testing.assert_array_equal(rows[:], VECTORS[chosen])
    np.testing.assert_array_equal(rows[1:3], VECTORS[chosen][1:3])
    again = GatheredRows([rows, VECTORS], np.arange(len(order) + 6), 3)
    np.testing.assert_array_equal(again[:], np.concatenate([VECTORS[chosen], VECTORS]))


def test_blocks_are_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cir.artefacts.rows._AT_ONCE", 4)
    assert [block.tolist() for block in blocks_of(VECTORS)] == [
        VECTORS[:4].tolist(),
        VECTORS[4:].tolist(),
    ]
    spoilt = VECTORS.copy()
    spoilt[[1, 5]] = 0
    with pytest.raises(VectorError, match=r"2 of 6 vectors of images .* row 1 is all zero"):
        require_directions(spoilt, "images")


def test_a_key_for_each_row() -> None:
    with pytest.raises(VectorError, match="a row for each of 5 keys"):
        KeyedRows(tuple("abcde"), VECTORS)
