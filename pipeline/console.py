"""What a person sees: tables and notes on standard output, progress on standard error."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.markup import escape

from pipeline.bars import Pipe, err, on_screen
from pipeline.bars import RichProgress as RichProgress
from pipeline.flags import spelled
from pipeline.tables import tables

out = Pipe(highlight=False)
_EXAMPLES = 3
"""Things that are named of those that a reason left out."""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; every column but the first is right-aligned, and no cell is cut."""
    cells = [[str(cell) for cell in row] for row in rows]
    for drawn in tables(title, columns, cells, _said().width):
        _print(drawn)


def note(text: str) -> None:
    """Prints one line, which names fields as flags."""
    _print(escape(spelled(text)), soft_wrap=True)


def plain(text: str) -> None:
    """Prints a text as it is, for a program or the terminal to read."""
    try:
        sys.stdout.write(f"{text}\n")
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def left_out(by_reason: Mapping[str, Sequence[str]]) -> None:
    """Prints a line for each reason: how many things it left out, and the first of them."""
    for reason, items in by_reason.items():
        more = ", ..." if len(items) > _EXAMPLES else ""
        note(f"Left out: {len(items):,}, {reason} ({', '.join(items[:_EXAMPLES])}{more})")


def fail(text: str) -> None:
    """Prints one line of failure on standard error."""
    err.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def _print(shown: RenderableType, *, soft_wrap: bool = False) -> None:
    """Prints on standard output; a fault of the operating system there names it."""
    try:
        _said().print(shown, soft_wrap=soft_wrap)
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def _said() -> Console:
    """Standard output; where it is the screen of the bars, the console that prints above them."""
    return err if on_screen(out) and on_screen(err) else out
