"""Vectors gathered from several tables."""

from unittest import mock

import numpy as np
import pytest

from cir.encoding import places
from cir.encoding.places import Place, gathered

TABLES = [np.arange(12, dtype=np.float32).reshape(4, 3), -np.ones((2, 3), np.float32)]


@pytest.mark.parametrize(
    "chosen",
    [[], [(0, 1), (0, 2)], [(0, 2), (0, 1)], [(1, 0), (0, 3), (1, 1), (0, 0), (0, 0)], [(1, 1)]],
)
@pytest.mark.parametrize("at_once", [2, 4096])
def test_vectors_come_in_the_order_of_their_places(
    chosen: list[tuple[int, int]], at_once: int
) -> None:
    with mock.patch.object(places, "_AT_ONCE", at_once):
        found = gathered(TABLES, [Place(*each) for each in chosen], dim=3)
    expected = [TABLES[table][row] for table, row in chosen]
    assert np.array_equal(found, np.reshape(expected, (len(chosen), 3)))


def test_consecutive_rows_of_one_table_are_held_once() -> None:
    found = gathered(TABLES, [Place(0, 1), Place(0, 2), Place(0, 3)], dim=3)
    assert np.shares_memory(found, TABLES[0])
