"""One run killed for good, again and again; `tests.benchmarks.kills` kills many."""

from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.kills import survived
from tests.support.forked import CIR, forked
from tests.support.undrawn import draw_nothing

pytestmark = pytest.mark.slow


def test_a_run_killed_for_good_ends_as_one_never_killed(tmp_path: Path) -> None:
    met = survived(tmp_path, times=1, seed=1, start=partial(forked, CIR, prepare=draw_nothing))
    assert met.total() >= 1
    assert any("writing" in moment for moment in met)
