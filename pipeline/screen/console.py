"""What a person sees: tables and notes on standard output, progress on standard error."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.markup import escape

from pipeline.command.flags import Kind, spelled
from pipeline.screen import patience
from pipeline.screen.bars import Pipe, err, on_screen
from pipeline.screen.bars import RichProgress as RichProgress
from pipeline.screen.tables import tables

out = Pipe(highlight=False)
_STEERS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_EXAMPLES = 3
"""Things that are named of those that a reason left out."""


def legible(text: str) -> str:
    """A text as any terminal may print it: what would steer the terminal stands as its code.

    Control characters, half surrogates, and marks that turn the direction of writing are written as
    Python writes them.
    """
    return _STEERS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def shown(text: str) -> str:
    """A legible text whose markup rich shows and does not obey."""
    return escape(legible(text))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; every column but the first is right-aligned, and no cell is cut."""
    cells = [[legible(str(cell)) for cell in row] for row in rows]
    for drawn in tables(legible(title), [*map(legible, columns)], cells, _said().width):
        _print(drawn)


def note(text: str) -> None:
    """Prints one line, which names fields as flags."""
    _print(shown(spelled(text)), soft_wrap=True)


def plain(text: str) -> None:
    """Prints a text as it is, for a program or the terminal to read."""
    patience.broken()
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"{text}\n")
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def is_terminal() -> bool:
    """Whether standard output is a terminal; one that was closed is none."""
    return sys.stdout is not None and sys.stdout.isatty()


def left_out(by_reason: Mapping[str, Sequence[str]]) -> None:
    """Prints a line for each reason: how many things it left out, and the first of them."""
    for reason, items in by_reason.items():
        more = ", ..." if len(items) > _EXAMPLES else ""
        note(f"Left out: {len(items):,}, {reason} ({', '.join(items[:_EXAMPLES])}{more})")


def refreshed(changes: object | None, left_out: Sequence[str]) -> None:
    """Says on standard error what has been embedded before a search, if anything.

    Args:
        changes: Of a folder of photos that had been embedded before.
        left_out: A line for each reason why photos of it are not searched.
    """
    if changes is not None:
        err.print(shown(f"the folder of photos had changed: {changes}"), soft_wrap=True)
    for line in left_out:
        err.print(shown(line), soft_wrap=True)


def fail(text: str, command: Kind | None = None) -> None:
    """Prints one line of failure on standard error; it names fields as flags, as of `spelled`."""
    err.print(f"[bold red]error:[/] {shown(spelled(text, command))}", soft_wrap=True)


def _print(shown: RenderableType, *, soft_wrap: bool = False) -> None:
    """Prints on standard output; a fault of the operating system there names it."""
    patience.broken()
    try:
        _said().print(shown, soft_wrap=soft_wrap)
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def _said() -> Console:
    """Standard output; where it is the screen of the bars, the console that prints above them."""
    return err if on_screen(out) and on_screen(err) else out
