"""Progress: on screens of two widths, in a log, in a log that takes colours; notes above bars."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from cir.progress import SILENT, PartsOf
from pipeline.screen.bars import RichProgress, on_screen
from pipeline.screen.console import fail, note, table


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def screen(width: int) -> Console:
    return Console(file=Screen(), force_terminal=True, width=width, legacy_windows=False)


def log(**options: bool) -> Console:
    return Console(file=io.StringIO(), width=80, **options)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(progress: RichProgress) -> list[str]:
    """What stands on the screen now, line by line."""
    bars = progress._bars
    assert bars is not None
    paper = Console(file=io.StringIO(), width=bars._screen.width)
    paper.print(bars.get_renderable())
    return text(paper).rstrip("\n").split("\n")


def half_an_epoch(progress: RichProgress, clock: Time, then: Callable[[], None]) -> None:
    """One of four epochs of 12,000 queries is half done after 6 s, at 1,000 queries a second."""
    with progress.task("run", 48_000, "queries") as whole:
        with PartsOf(whole, progress).task("epoch 1/4", 12_000, "queries") as task:
            clock.now += 6
            task.tally(images=1_200)
            task.advance(6_000, loss=1.8612, lr=0.000162)
            then()
        clock.now += 1


@pytest.mark.parametrize(
    ("width", "shown"), [(80, "50%"), (120, "6,000/12,000")], ids=["narrow", "wide"]
)
def test_a_run_and_its_epoch_fit_the_screen(width: int, shown: str) -> None:
    clock, found = Time(), []
    progress = RichProgress(screen(width), clock)
    half_an_epoch(progress, clock, lambda: found.extend(drawn(progress)))
    run, epoch = found
    assert all(len(line) <= width for line in found)
    assert "━" in run
    assert "…" not in run + epoch
    for part in ("epoch 1/4", shown, "0:06 left", "1,000 queries/s", "200 images/s"):
        assert part in epoch
    for part in ("run", "0:42 left", "loss 1.86", "lr 0.000162"):
        assert part in run
    assert "loss" not in epoch


def test_a_part_is_gone_when_it_is_done() -> None:
    progress, left = RichProgress(screen(100)), []
    with progress.task("run", 2, "queries"):
        with progress.task("mine", 1, "images"):
            assert len(drawn(progress)) == 2
        left.extend(drawn(progress))
    assert len(left) == 1
    assert left[0].startswith("run")


def test_a_log_has_a_line_now_and_then() -> None:
    console, clock = log(), Time()
    with RichProgress(console, clock).task("images", 10_000, "images") as task:
        for _ in range(1_000):
            clock.now += 0.1
            task.advance(10)
    lines = text(console).splitlines()
    assert len(lines) == 4  # one each 30 s, and the last
    assert lines[0] == "images: 3,000/10,000, 30%, 1:10 left, 100 images/s"
    assert lines[-1] == "images: 10,000 images in 1:40, 100 images/s"


@pytest.mark.slow
def test_a_log_of_days_is_short() -> None:
    console, clock = log(), Time()
    with RichProgress(console, clock).task("run", 100_000, "queries") as task:
        for _ in range(100_000):
            clock.now += 1
            task.advance()
    assert 50 < len(text(console).splitlines()) < 150


def test_a_log_tells_the_part_with_the_whole_in_one_line() -> None:
    console, clock = log(), Time()
    progress = RichProgress(console, clock)
    with progress.task("run", 100, "queries") as whole:
        with PartsOf(whole, progress).task("epoch 1/2", 50, "queries") as task:
            clock.now += 20
            task.advance(20, loss=0.5)
            clock.now += 20
            task.advance(0)
        with progress.task("mine", 10, "images") as mining:
            clock.now += 1
            mining.advance(10)
    first, last = text(console).splitlines()
    assert first == (
        "epoch 1/2: 20/50, 40%, 1:00 left, 0.5 queries/s; "
        "run: 20/100, 20%, 2:40 left, 0.5 queries/s, loss 0.5"
    )
    assert last == "run: 20 queries in 0:41, 0.488 queries/s, loss 0.5"


def test_colours_make_no_screen_of_a_log() -> None:
    console = log(force_terminal=True)
    assert not on_screen(console)
    with RichProgress(console).task("images", 2, "images") as task:
        task.advance(2)
    assert len(text(console).splitlines()) == 1


def test_what_fails_leaves_the_screen_for_the_next() -> None:
    progress = RichProgress(screen(80))
    with pytest.raises(ValueError, match="broken"), progress.task("a", 1, "images"):
        raise ValueError("broken")
    with progress.task("b", 1, "images"):
        assert len(drawn(progress)) == 1


def test_nothing_to_do_is_no_fault() -> None:
    for console in (screen(80), log()):
        with RichProgress(console).task("images", 0, "images") as task:
            task.advance(0)


def test_the_silent_progress_takes_everything() -> None:
    with (
        SILENT.task("run", 1, "queries") as whole,
        PartsOf(whole, SILENT).task("a", 1, "b") as task,
    ):
        task.tally(images=1)
        task.advance(1, loss=1.0)


NASTY = "a\x1b[31mred\x07 [bold]b[/bold] \u202e\ud800\n$\\frac$"
SAFE = "a\\x1b[31mred\\x07 [bold]b[/bold] \\u202e\\ud800\\n$\\frac$"


def test_what_steers_a_terminal_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    note(NASTY)
    fail(NASTY)
    table(NASTY, [NASTY], [[NASTY]])
    said, failed = capsys.readouterr()
    assert said.splitlines()[0] == SAFE
    assert failed == f"error: {SAFE}\n"
    assert said.count(SAFE) == 4
    assert not any(ord(character) < 32 and character != "\n" for character in said + failed)
