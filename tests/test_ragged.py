"""The ragged array, against lists of lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.ragged import Ragged

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6)


def lists_of(ragged: Ragged) -> list[list[int]]:
    return [ragged.of(owner).tolist() for owner in range(len(ragged))]


@pytest.mark.slow
@given(LISTS)
def test_lists_and_pairs_give_back_each_owners_rows(lists):
    made = Ragged.of_lists(lists)
    assert lists_of(made) == lists
    assert made.lengths.tolist() == [len(rows) for rows in lists]
    owners, rows = made.pairs()
    assert lists_of(Ragged.of_pairs(owners[::-1], rows[::-1], len(lists))) == [
        rows[::-1] for rows in lists
    ]


@pytest.mark.slow
@given(LISTS, st.data())
def test_take_gives_owners_in_the_order_asked_for_and_as_often(lists, data):
    owners = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    chosen = np.array(owners, dtype=np.int64)
    taken = Ragged.of_lists(lists).take(chosen)
    assert lists_of(taken) == [lists[owner] for owner in owners]


@pytest.mark.slow
@given(LISTS)
def test_where_keeps_the_chosen_rows_of_each_owner(lists):
    made = Ragged.of_lists(lists)
    even = [[row for row in rows if row % 2 == 0] for rows in lists]
    assert lists_of(made.where(made.rows % 2 == 0)) == even


@given(LISTS)
def test_of_lengths_numbers_rows_on(lists):
    lengths = np.array([len(rows) for rows in lists], dtype=np.int64)
    made = Ragged.of_lengths(lengths)
    assert made.lengths.tolist() == lengths.tolist()
    assert made.rows.tolist() == list(range(lengths.sum()))
