"""What the seconds of an epoch go to, across interruptions."""

from contextlib import suppress

import pytest

from cir.training import metrics_log
from cir.training.metrics_log import Clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test may move."""
    at = [100.0]
    monkeypatch.setattr(metrics_log.time, "perf_counter", lambda: at[0])
    return at


def test_parts_and_the_whole_go_on_where_another_clock_stopped(now: list[float]) -> None:
    first = Clock()
    now[0] += 1
    with first.part("train"):
        now[0] += 2
        shown = first.seconds()
    assert shown == {
        "seconds": 3.0,
        "parts": {"train": 2.0, "embed": 0.0, "evaluate": 0.0, "mine": 0.0},
    }
    now[0] += 1000
    second = Clock(shown)
    with second.part("train"):
        now[0] += 4
    with second.part("mine"):
        now[0] += 8
    now[0] += 16
    assert second.seconds() == {
        "seconds": 31.0,
        "parts": {"train": 6.0, "embed": 0.0, "evaluate": 0.0, "mine": 8.0},
    }


def test_a_part_that_fails_is_counted(now: list[float]) -> None:
    clock = Clock()
    with suppress(KeyError), clock.part("evaluate"):
        now[0] += 2
        raise KeyError
    assert clock.seconds()["parts"]["evaluate"] == 2.0
