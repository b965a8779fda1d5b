"""What a problem reads when it is made; what it refuses is in test_refusals.py."""

from typing import Any

import numpy as np

from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.problem import Problem
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
