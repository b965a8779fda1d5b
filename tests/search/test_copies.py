"""Near-copies folded as ever more rows are looked at."""

import tracemalloc

import numpy as np
import pytest

from cir.search.copies import Folding, Found
from cir.search.gallery import Gallery
from cir.search.nearest import NearestRows
from tests.support.galleries import vectors

KINDS = np.array([0, 1, 0, 2, 3, 1, 4, 2, 3, 5])
"""What each row is a copy of; the references are copies of kind 3, and the file of row 6."""


def folding(top: int) -> Folding:
    drawn = vectors(6)
    digests = [f"{number:064x}" for number in range(len(KINDS))]
    gallery = Gallery([f"p{row}" for row in range(len(KINDS))], drawn[KINDS], sha256=digests)
    return Folding(gallery, drawn[3:4], ["", digests[6]], top)


def nearest(rows: list[int]) -> NearestRows:
    return NearestRows(np.array(rows), np.linspace(1, 0, len(rows), dtype=np.float32))


@pytest.mark.parametrize("steps", [[10], [1, 10], [3, 5, 6, 10]])
def test_rows_that_come_by_and_by_are_folded_as_all_at_once(steps: list[int]) -> None:
    folded, similarities = folding(9), nearest(list(range(10))).similarities
    for count in steps:
        folded.add(NearestRows(np.arange(count), similarities[:count]))
    expected = [(0, [2]), (1, [5]), (3, [7]), (9, [])]
    assert folded.found == [Found(row, float(similarities[row]), c) for row, c in expected]


def test_no_more_are_found_than_are_wanted() -> None:
    folded = folding(2)
    folded.add(nearest(list(range(10))))
    assert [(each.row, each.copies) for each in folded.found] == [(0, [2]), (1, [5])]


def test_where_nearer_rows_come_later_all_are_folded_anew() -> None:
    folded = folding(9)
    folded.add(nearest([0, 1, 3]))
    folded.add(nearest([0, 2, 1, 3, 5]))
    assert [(each.row, each.copies) for each in folded.found] == [(0, [2]), (1, [5]), (3, [])]


def test_the_memory_of_folding_grows_with_the_rows_alone() -> None:
    drawn, rows = vectors(3), 6_000
    of_kinds = Gallery([f"p{row}" for row in range(rows)], drawn[np.arange(rows) % 3])
    folded = Folding(of_kinds, drawn[:1], [], 10)
    found = NearestRows(np.arange(rows), np.linspace(1, 0, rows, dtype=np.float32))
    tracemalloc.start()
    folded.add(found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(each.row, len(each.copies)) for each in folded.found] == [(1, 1_999), (2, 1_999)]
    assert peak < rows * 200
