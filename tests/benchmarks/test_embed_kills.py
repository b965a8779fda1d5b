"""A few kills of `cir embed`; `tests.benchmarks.embed_kills` does many."""

from pathlib import Path

import pytest

from tests.benchmarks.embed_kills import World, survived

pytestmark = pytest.mark.slow


def test_a_store_killed_and_changed_ends_as_one_undisturbed(tmp_path: Path) -> None:
    met = survived(World(tmp_path, photos=36, seed=1), times=3)
    assert met.total() == 3
    assert met["having ended"] < 3
