"""The order of candidates, and counts in it."""

import numpy as np
import pytest

from cir.mining.numerics.ordering import before, count_above

KEYS = [(-np.inf, 3), (0.25, -1), (0.25, 0), (0.25, 7), (0.5, 0), (np.inf, -1)]


def test_candidates_are_ordered_by_distance_and_then_by_row() -> None:
    for place, key in enumerate(KEYS):
        for other_place, other in enumerate(KEYS):
            assert before(*key, *other) == (place < other_place)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_codes_above_a_bound_are_counted(dtype: type) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    codes = np.array([least, -1, 0, 0, 5, most], dtype)
    for bound in (least, -2, -1, 0, 4, 5, most):
        assert count_above(codes, dtype(bound), False) == (codes > bound).sum()
        assert count_above(codes, dtype(bound), True) == (codes >= bound).sum()


def test_all_rows_of_a_tile_are_counted() -> None:
    """As many as the narrowest codes can count."""
    assert count_above(np.ones(2**15 - 1, np.int16), np.int16(0), False) == 2**15 - 1
