"""Some endings of one command; `tests.benchmarks.endings` ends all of them, often."""

import signal
from pathlib import Path

import pytest

from cir.disk.hidden import lock_of
from tests.benchmarks import endings
from tests.benchmarks.endings import ended, made
from tests.support.forked import Forked

pytestmark = pytest.mark.slow


def test_a_command_that_is_killed_ends_as_one_undisturbed(tmp_path: Path) -> None:
    world = made(tmp_path, ["synth"])
    assert ended(world, kills=1, signals=0, seed=2, within=20).total() == 1


def test_the_next_writer_removes_the_lock_of_one_killed_at_its_very_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, lines = made(tmp_path, ["check"]), list[str]()
    started = endings._started

    def ending_late(folder: Path, line: str) -> Forked:
        """The first is killed with its output in place, before its lock is gone."""
        process = started(folder, line)
        if not lines:
            process.communicate(endings.LONGEST)
            lock_of(folder / "late" / "check.json").touch()
        lines.append(line)
        return process

    monkeypatch.setattr(endings, "_started", ending_late)
    endings._ended_once(world, "check", signal.SIGKILL, 0, "late", 20)
    assert [line.endswith("--overwrite") for line in lines] == [False, True]
