"""Marks and their places."""

import numpy as np
import pytest

from cir.mining.numerics.bytemask import list_marked, unlisted, unmarked


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 100])
def test_marks_are_listed_in_order_and_cleared(count: int) -> None:
    rng, marked, positions = np.random.default_rng(count), unmarked(count), unlisted(count)
    assert marked.sum() == 0
    for share in (0.0, 0.1, 0.9, 1.0):
        marked[:count] = rng.random(count) < share
        expected = np.flatnonzero(marked).tolist()
        assert positions[: list_marked(marked, positions)].tolist() == expected
        assert not marked.any()
