"""A little of `tests.benchmarks.chaos`, at every run of the tests."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.chaos import damaged_artefacts, decoded, embedded_folders, made
from tests.support.fences import fenced
from tests.support.forked import CIR, forked

pytestmark = pytest.mark.slow


def test_mutated_photos_are_decoded_or_refused() -> None:
    part = decoded(400, seed=1)
    assert part.faults == []
    assert part.outcomes.keys() == {"read", "refused"}


def test_damaged_artefacts_are_refused(tmp_path: Path) -> None:
    for part in damaged_artefacts(made(tmp_path), 25, seed=1):
        assert part.faults == []
        assert part.outcomes == {"refused": 25}


def test_mutated_photos_take_nobody_elses_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.benchmarks.chaos.IN_A_FOLDER", 40)
    part = embedded_folders(tmp_path, 40, seed=1, start=partial(forked, CIR))
    assert part.faults == []
    assert min(part.outcomes.values()) > 3


def test_what_dies_or_hangs_is_counted() -> None:
    def work(number: int) -> str:
        if number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 3:
            time.sleep(60)
        return "done"

    found = fenced(work, 5, patience=0.5).of
    assert found == ["done", f"died ({-signal.SIGSEGV})", "done", "hung", "done"]
