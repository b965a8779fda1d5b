"""What a person sees: tables and notes on standard output, progress bars on standard error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichBars,
)
from rich.progress import (
    Task as RichTask,
)
from rich.table import Column, Table
from rich.text import Text

from cir.progress import Task

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _Speed(ProgressColumn):
    """Units per second."""

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {task.fields['unit']}/s", style="cyan")


class _RunningTask:
    def __init__(self, bars: RichBars, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, count: int = 1, **figures: float) -> None:
        """Moves the bar and shows the figures beside it."""
        if figures:
            shown = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
            self._bars.update(self._task, figures=shown)
        self._bars.advance(self._task, count)


class RichProgress:
    """Progress bars with units per second and the time left, or taken when it is done."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Draws one bar while the block runs."""
        line = Column(no_wrap=True)
        columns = (
            TextColumn("{task.description}", table_column=line),
            BarColumn(bar_width=10),
            MofNCompleteColumn(table_column=line),
            _Speed(table_column=line),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=line),
            TextColumn("{task.fields[figures]}", style="dim", table_column=line),
        )
        with RichBars(*columns, console=err) as bars:
            yield _RunningTask(bars, bars.add_task(label, total=total, unit=unit, figures=""))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; every column but the first is right-aligned."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    out.print(drawn)


def note(text: str) -> None:
    """Prints one line."""
    out.print(escape(text), soft_wrap=True)


def fail(text: str) -> None:
    """Prints one line of failure on standard error."""
    err.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)
