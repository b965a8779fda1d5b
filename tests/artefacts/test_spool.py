"""Vectors put on the disk as they come."""

from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.spool import Spool
from cir.errors import CirError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_vectors_come_back_in_their_order_and_leave_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "parts", 3)
    assert spool.rows().shape == (0, 3)
    spool.append(VECTORS[:0])
    assert not list(tmp_path.iterdir())
    spool.append(VECTORS[:3])
    before = spool.rows()
    spool.append(VECTORS[:, ::-1][3:])
    np.testing.assert_array_equal(before[:], VECTORS[:3])
    np.testing.assert_array_equal(spool.rows()[3:], VECTORS[3:, ::-1])
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_folder_that_takes_no_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(b"")
    with pytest.raises(CirError, match=r"cannot write .*parts is no folder"):
        Spool(tmp_path / "parts", 3).append(VECTORS)
