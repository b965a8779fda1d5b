"""The greedy choice of pairs, held against its definition."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.mining.diversity import diverse_pairs


def chosen_slowly(pairs: list[tuple[int, int, int]], count: int, most_uses: int) -> list[int]:
    """Round by round, the best pair whose photos are both in fewer pairs than the round's number.

    `pairs` are (reference, target, priority).
    """
    taken: list[int] = []
    for uses in range(1, most_uses + 1):
        while len(taken) < count:
            free = [
                place
                for place, (reference, target, _) in enumerate(pairs)
                if all(pairs[t][:2] != (reference, target) for t in taken)
                and sum(pairs[t][0] == reference for t in taken) < uses
                and sum(pairs[t][1] == target for t in taken) < uses
            ]
            if not free:
                break
            taken.append(min(free, key=lambda place: (pairs[place][2], place)))
    return taken


@pytest.mark.slow
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(-3, 3)), max_size=25
    ),
    count=st.integers(1, 30),
    most_uses=st.integers(1, 4),
)
def test_the_choice_is_that_of_a_slow_search(
    pairs: list[tuple[int, int, int]], count: int, most_uses: int
) -> None:
    columns = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    chosen = diverse_pairs(
        columns[:, 0],
        columns[:, 1],
        columns[:, 2].astype(np.float32),
        count=count,
        most_uses=most_uses,
    )
    assert chosen.tolist() == chosen_slowly(pairs, count, most_uses)


def test_a_second_pair_of_a_reference_comes_after_the_first_of_every_other() -> None:
    references, targets = np.array([0, 0, 1]), np.array([10, 11, 12])
    chosen = diverse_pairs(references, targets, np.array([0.0, 0.1, 0.9]), count=3, most_uses=2)
    assert chosen.tolist() == [0, 2, 1]


class Counted(np.ndarray):
    """An array that counts how often one of its items is read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(place)


@pytest.mark.parametrize(("count", "reads"), [(3, 3), (100, 100)])
def test_no_pair_is_looked_at_once_there_is_nothing_to_take(count: int, reads: int) -> None:
    references = np.arange(50).view(Counted)
    Counted.reads = 0
    chosen = diverse_pairs(
        references, np.arange(50), np.arange(50.0), count=count, most_uses=1_000_000
    )
    assert len(chosen) == min(count, 50)
    assert Counted.reads == reads
