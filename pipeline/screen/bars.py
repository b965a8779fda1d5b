"""Progress on standard error: bars on a screen, in a log a line now and then."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn
from rich.progress import Progress as RichBars
from rich.progress import Task as RichTask
from rich.table import Column, Table
from rich.text import Text

from cir.progress import Task
from pipeline.screen import patience


class Pipe(Console):
    """A console that says when nobody reads it any more; rich itself would end the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


err = Pipe(stderr=True, highlight=False)
"""Where progress and failures are shown."""

_SILENCE: Final = 30.0
"""Seconds between two lines of a log, at least."""
_SILENCE_SHARE: Final = 0.05
"""The same as a share of the time so far, which soon is more: a day's log stays short."""
_WIDTH_UNKNOWN: Final = 10_000
"""Columns that no line fills: to measure what a line would like to have."""

Clock = Callable[[], float]


class _Work:
    """A task under way: what is done of it, since when, and the texts that say so."""

    def __init__(self, label: str, total: int, unit: str, clock: Clock) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._clock = clock
        self._started = clock()
        self._ended: float | None = None
        self._counts = {unit: 0}
        self._figures: dict[str, float] = {}

    def advance(self, count: int, figures: dict[str, float]) -> None:
        self.tally({self.unit: count})
        self._figures = self._figures | figures  # drawn by another thread: replaced, not changed

    def tally(self, counts: dict[str, int]) -> None:
        more = {unit: self._counts.get(unit, 0) + count for unit, count in counts.items()}
        self._counts = self._counts | more

    def end(self) -> None:
        self._ended = self._clock()

    @property
    def done(self) -> int:
        return self._counts[self.unit]

    @property
    def elapsed(self) -> float:
        return (self._clock() if self._ended is None else self._ended) - self._started

    def count(self) -> str:
        return f"{self.done:,}/{self.total:,}"

    def percent(self) -> str:
        return f"{self.done / max(self.total, 1):.0%}"

    def time(self) -> str:
        """What is left at the pace so far; what it took, once it has ended."""
        if self._ended is not None:
            return _duration(self.elapsed)
        if not self.done:
            return ""
        return f"{_duration(self.elapsed / self.done * max(self.total - self.done, 0))} left"

    def speeds(self) -> list[str]:
        """Of each unit, so far."""
        return [
            f"{_speed(count / self.elapsed)} {unit}/s"
            for unit, count in self._counts.items()
            if count and self.elapsed > 0
        ]

    def figures(self) -> list[str]:
        return [f"{name} {value:.3g}" for name, value in self._figures.items()]

    def line(self) -> str:
        """How it stands, for a log."""
        parts = [self.count(), self.percent(), self.time(), *self.speeds(), *self.figures()]
        return f"{self.label}: {', '.join(part for part in parts if part)}"

    def last_line(self) -> str:
        """What was done, for a log."""
        line = f"{self.label}: {self.done:,} {self.unit} in {self.time()}"
        return ", ".join([line, *self.speeds(), *self.figures()])


def _duration(seconds: float) -> str:
    """As 0:07 or 1:02:03."""
    text = str(timedelta(seconds=round(seconds)))
    return text[3:] if text.startswith("0:0") else text.removeprefix("0:")


def _speed(value: float) -> str:
    """With three digits that count."""
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


class _WorkColumn(ProgressColumn):
    """A text about a task, on one line."""

    def __init__(self, text: Callable[[_Work], str], style: str = "", *, right: bool = False):
        justify = "right" if right else "left"
        super().__init__(Column(no_wrap=True, justify=justify))  # type: ignore[arg-type]
        self._text, self._style = text, style

    def render(self, task: RichTask) -> Text:
        return Text(self._text(task.fields["work"]), style=self._style)


def _columns(bar: int, count: Callable[[_Work], str]) -> tuple[ProgressColumn, ...]:
    return (
        _WorkColumn(lambda work: work.label),
        *([BarColumn(bar_width=bar)] if bar else []),
        _WorkColumn(count, "green", right=True),
        _WorkColumn(_Work.time, "cyan", right=True),
        _WorkColumn(lambda work: "  ".join([*work.figures(), *work.speeds()])),
    )


_LAYOUTS: Final = (
    _columns(24, _Work.count),
    _columns(10, _Work.count),
    _columns(10, _Work.percent),
    _columns(4, _Work.percent),
    _columns(0, _Work.percent),
)
"""From the widest to the narrowest."""


class _Bars(RichBars):
    """Bars in the widest layout that the screen has room for; once narrower, they stay so."""

    def __init__(self, screen: Console, *, redirect_stdout: bool) -> None:
        self._screen = screen
        self._layout = 0
        super().__init__(*_LAYOUTS[0], console=screen, redirect_stdout=redirect_stdout)

    def make_tasks_table(self, tasks: Iterable[RichTask]) -> Table:
        shown = list(tasks)
        drawn = super().make_tasks_table(shown)
        while shown and self._too_wide(drawn):
            self._layout += 1
            self.columns = _LAYOUTS[self._layout]
            drawn = super().make_tasks_table(shown)
        return drawn

    def _too_wide(self, drawn: Table) -> bool:
        """Whether a table has no room on the screen, and a narrower layout is left."""
        endless = self._screen.options.update(max_width=_WIDTH_UNKNOWN)
        width = self._screen.measure(drawn, options=endless).maximum
        return width > self._screen.width and self._layout < len(_LAYOUTS) - 1


class _RunningTask:
    def __init__(self, work: _Work, moved: Callable[[], None]) -> None:
        self._work, self._moved = work, moved

    def advance(self, count: int = 1, **figures: float) -> None:
        """Counts, and shows it when its time comes."""
        self._work.advance(count, figures)
        self._moved()

    def tally(self, **counts: int) -> None:
        """Counts other units."""
        self._work.tally(counts)


class RichProgress:
    """Bars with the time left, units per second and figures; lines where there is no screen.

    A task inside another has its own bar below, which is gone when it is done.
    """

    def __init__(self, console: Console = err, clock: Clock = time.monotonic) -> None:
        """Shows nothing yet.

        Args:
            console: Where it is shown.
            clock: Seconds since whenever.
        """
        self._console, self._clock = console, clock
        self._open: list[_Work] = []
        self._bars: _Bars | None = None
        self._told: float = 0.0
        """When the log had its last line."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Shows one task while the block runs."""
        patience.broken()
        work = _Work(label, total, unit, self._clock)
        show = self._bar if on_screen(self._console) else self._lines
        with show(work) as running:
            yield running

    @contextmanager
    def _bar(self, work: _Work) -> Iterator[Task]:
        if self._bars is not None:
            with _drawn(self._bars, work) as running:
                yield running
            return
        # What is printed goes above the bars; what leads elsewhere than the screen is left alone.
        with _Bars(self._console, redirect_stdout=on_screen(Console())) as self._bars:
            try:
                with _drawn(self._bars, work, stays=True) as running:
                    yield running
            finally:
                self._bars = None

    @contextmanager
    def _lines(self, work: _Work) -> Iterator[Task]:
        if not self._open:
            self._told = self._clock()
        self._open.append(work)
        try:
            yield _RunningTask(work, self._tell)
        finally:
            work.end()
            self._open.pop()
        if not self._open:
            self._say(work.last_line())

    def _tell(self) -> None:
        """A line about the tasks that are open, the innermost first, where one is due."""
        silence = max(_SILENCE, _SILENCE_SHARE * self._open[0].elapsed)
        if self._clock() >= self._told + silence:
            self._told = self._clock()
            self._say("; ".join(work.line() for work in reversed(self._open)))

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)


@contextmanager
def _drawn(bars: _Bars, work: _Work, *, stays: bool = False) -> Iterator[Task]:
    """The bar of one task; it goes, or stays, when the task is done."""
    task_id = bars.add_task(work.label, total=work.total, work=work)
    try:
        yield _RunningTask(work, lambda: bars.update(task_id, completed=work.done))
    finally:
        work.end()
        if not stays:
            bars.remove_task(task_id)


def on_screen(console: Console) -> bool:
    """Whether someone watches a console that can be drawn over; a log never is, even in colours."""
    return console.is_interactive and console.file.isatty()
