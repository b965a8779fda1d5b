"""Tables whose figures are never cut: columns that a screen has no room for stand below."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

Rows = Sequence[Sequence[str]]

_BORDER: Final = 3
"""Characters between two columns; the table has one more."""
_CONTINUED: Final = "the rest of its columns"


def tables(title: str, columns: Sequence[str], rows: Rows, width: int) -> list[Table]:
    """One table, or several that begin with the same column, each at most `width` wide.

    A single text that is wider is broken into lines, whole as well.

    Args:
        title: Stands above the first.
        columns: Headings; every column but the first is right-aligned.
        rows: The cells.
        width: Characters of a line.
    """
    widths = [_width(column, [row[n] for row in rows]) for n, column in enumerate(columns)]
    parts = _parts(widths, width)
    return [
        _table(title if not nth else _CONTINUED, columns, rows, (0, *part), widths)
        for nth, part in enumerate(parts)
    ]


def _width(heading: str, cells: Sequence[str]) -> int:
    """Characters that a column needs: whole cells, and whole words of its heading."""
    return max(cell_len(text) for text in (*cells, *heading.split(), ""))


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """The columns behind the first, in parts that fit beside it."""
    first = 1 + _BORDER + widths[0]
    parts: list[list[int]] = [[]]
    taken = first
    for number, needed in enumerate(widths[1:], start=1):
        if parts[-1] and taken + _BORDER + needed > width:
            parts.append([])
            taken = first
        parts[-1].append(number)
        taken += _BORDER + needed
    return parts


def _table(
    title: str, columns: Sequence[str], rows: Rows, chosen: Sequence[int], widths: Sequence[int]
) -> Table:
    drawn = Table(title=escape(title), title_justify="left", title_style="bold")
    for number in chosen:
        drawn.add_column(
            escape(columns[number]),
            justify="left" if number == 0 else "right",
            overflow="fold",
            min_width=widths[number] if number else None,
        )
    for row in rows:
        drawn.add_row(*(escape(row[number]) for number in chosen))
    return drawn
