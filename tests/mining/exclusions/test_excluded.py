"""Exclusions by query: cut, chosen, counted and told by the rows of another gallery."""

from dataclasses import astuple

import numpy as np

from cir.mining.exclusions.excluded import REASONS, Exclusions, exclusions_of
from cir.types import NO_ROW


def exclusions() -> Exclusions:
    starts, rows = np.array([0, 3, 3, 5, 6]), np.array([0, 2, 5, 1, 2, 4])
    return Exclusions(starts, rows, np.array([0, 1, 4, 2, 3, 1], dtype=np.int8))


def entries(found: Exclusions) -> list[list[tuple[int, int]]]:
    """(row, reason) of every exclusion by query."""
    flat = list(zip(found.rows.tolist(), found.reasons.tolist(), strict=True))
    return [flat[a:b] for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]


def test_rules_are_counted_but_for_named_images() -> None:
    assert astuple(exclusions().counts) == (2, 1, 1, 1)
    assert exclusions().counts.duplicates == 3
    assert REASONS[0] == "named"


def test_queries_are_taken_with_their_reasons() -> None:
    taken = exclusions().take(np.array([2, 0, 2, 1]))
    second, first = [(1, 2), (2, 3)], [(0, 0), (2, 1), (5, 4)]
    assert entries(taken) == [second, first, second, []]
    assert astuple(taken.counts) == (1, 2, 2, 1)


def test_some_exclusions_are_kept_with_their_reasons() -> None:
    kept = exclusions().where(np.array([True, False, True, False, True, False]))
    assert entries(kept) == [[(0, 0), (5, 4)], [], [(2, 3)], []]


def test_rows_of_another_gallery_ascend() -> None:
    row_of = np.array([7, NO_ROW, 3, NO_ROW, NO_ROW, 1])
    assert entries(exclusions().in_gallery(row_of)) == [[(1, 4), (3, 1), (7, 0)], [], [(3, 3)], []]


def test_lists_are_sorted_and_each_row_stands_once() -> None:
    made = exclusions_of([[3, 1, 3], [], [0, 2]])
    assert [made.of(n).tolist() for n in range(len(made))] == [[1, 3], [], [0, 2]]
