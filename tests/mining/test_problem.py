"""What a problem reads when it is made; what it refuses is in test_refusals.py."""

from typing import Any

import numpy as np
import pytest

from cir.errors import UsageError
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.problem import Problem
from cir.ragged import Ragged
from tests.support.vectors import unit


def test_a_long_gallery_is_checked_by_a_sample() -> None:
    class Counted(np.ndarray):
        """Counts the rows that are read."""

        read = 0

        def __getitem__(self, key: Any) -> Any:
            rows = super().__getitem__(key)
            Counted.read += rows.shape[0]
            return rows

    gallery = unit(10_000).view(Counted)
    Problem(unit(3), unit(3), gallery, exclusions_of([[0], [], [4, 1]]))
    assert 0 < Counted.read < 3000


@pytest.mark.parametrize("wrong", [[2, 1], [1, 1]])
def test_exclusions_are_ascending_and_each_once(wrong: list[int]) -> None:
    with pytest.raises(UsageError, match=r"of query 2 name row 1 behind row .* ascending rows"):
        Problem(unit(4), unit(4), unit(9), Ragged.of_lists([[5, 8], [], wrong, [0]]))
    Problem(unit(4), unit(4), unit(9), Ragged.of_lists([[5, 8], [], [1, 2], [0]]))
