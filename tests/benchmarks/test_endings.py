"""Some endings of one command; `tests.benchmarks.endings` ends all of them, often."""

from pathlib import Path

import pytest

from tests.benchmarks.endings import ended, made

pytestmark = pytest.mark.slow


def test_a_command_that_is_killed_ends_as_one_undisturbed(tmp_path: Path) -> None:
    world = made(tmp_path, ["synth"])
    assert ended(world, kills=1, signals=0, seed=2, within=20).total() == 1
