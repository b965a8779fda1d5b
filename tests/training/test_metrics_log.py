"""Which epoch is the best, and what the seconds of one go to, across interruptions."""

from contextlib import suppress
from pathlib import Path

import pytest

from cir.errors import CheckpointError
from cir.names import METRICS_FILE
from cir.training import metrics_log
from cir.training.metrics_log import Clock, EpochMetrics, RunLog

BETTER = {
    "a higher headline, whatever R@1": ((90.0, 50.0), (90.1, 40.0)),
    "the same headline, and more found first": ((100.0, 50.0), (100.0, 50.1)),
}


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


def log_of(folder: Path, *standings: tuple[float, float]) -> RunLog:
    """The log of a run whose epochs have these headlines and R@1."""
    log = RunLog(folder)
    for epoch, standing in enumerate(standings):
        line = EpochMetrics(epoch, losses=None, dev=dev_of(standing), manifest=None)
        log.append(line, Clock().seconds(), machine="")
    return log


def dev_of(standing: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("headline", "R@1"), standing, strict=True))


@pytest.mark.parametrize("name", BETTER)
def test_an_epoch_is_better_by(tmp_path: Path, name: str) -> None:
    before, after = BETTER[name]
    assert log_of(tmp_path / "one", before).is_best(dev_of(after))
    assert not log_of(tmp_path / "other", after).is_best(dev_of(before))


def test_an_equal_epoch_is_no_better(tmp_path: Path) -> None:
    log = log_of(tmp_path, (90.0, 50.0), (80.0, 60.0), (90.0, 50.0))
    assert not log.is_best(dev_of((90.0, 50.0)))
    assert log.epochs_since_best() == 2


def test_patience_counts_from_the_epoch_that_finds_more_first(tmp_path: Path) -> None:
    assert log_of(tmp_path, (100.0, 50.0), (100.0, 55.0), (100.0, 52.0)).epochs_since_best() == 1


def test_the_first_epoch_is_the_best_of_none(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    assert log.is_best(dev_of((0.0, 0.0)))
    assert log.epochs_since_best() == 0


@pytest.mark.parametrize("times", [None, "", "{", '{"seconds": 1}\n', "[]\n"])
def test_seconds_that_are_lost_cost_no_epoch(tmp_path: Path, times: str | None) -> None:
    log_of(tmp_path, (1.0, 1.0), (2.0, 2.0))
    file = tmp_path / "times.jsonl"
    file.unlink() if times is None else file.write_text(times)
    log = RunLog(tmp_path)
    assert [line["epoch"] for line in log.lines] == [0, 1]
    assert not any("seconds" in line for line in log.lines)
    line = EpochMetrics(2, losses=None, dev=dev_of((3.0, 3.0)), manifest=None)
    log.append(line, {"seconds": 7.0}, machine="")
    again = RunLog(tmp_path).lines
    assert [each["epoch"] for each in again] == [0, 1, 2]
    assert [each.get("seconds") for each in again] == [None, None, 7.0]


def test_an_epoch_that_is_trained_again_has_its_new_seconds(tmp_path: Path) -> None:
    log = log_of(tmp_path, (1.0, 1.0), (2.0, 2.0), (3.0, 3.0))
    log.keep(1)
    assert [line["epoch"] for line in log.lines] == [0]
    line = EpochMetrics(1, losses=None, dev=dev_of((2.0, 2.0)), manifest=None)
    log.append(line, {"seconds": 7.0}, machine="")
    assert RunLog(tmp_path).lines[1]["seconds"] == 7.0
    assert len((tmp_path / "times.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "words"), [("[]", "a line is no object"), ('{"epoch": 0}', "lacks figures on dev")]
)
def test_figures_that_are_none_are_damaged(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / METRICS_FILE).write_text(text + "\n")
    with pytest.raises(CheckpointError, match=words):
        RunLog(tmp_path)
