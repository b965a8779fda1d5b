"""The rows of a catalogue's CSV file: one photo a row, under a header of column names."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cir.data.soundness import text_fault
from cir.errors import DatasetError, UsageError
from cir.sources.catalog.csv_form import find_delimiter, read_csv_text

_SEPARATOR_LINE: Final = re.compile('\ufeff?"?sep=([^"\\r\\n])"?(?=[\\r\\n])', re.IGNORECASE)


@dataclass(frozen=True)
class CatalogRow:
    """One row and where it begins."""

    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class CatalogTable:
    """What a catalogue's file says."""

    path: Path
    encoding: str
    encoding_why: str
    delimiter: str
    header: tuple[str, ...]
    """Names of the columns, each once."""
    rows: tuple[CatalogRow, ...]
    """Rows with as many fields as the header, or more."""
    malformed: tuple[int, ...]
    """Lines of the rows with too few fields, a quote out of its place, or what no text may hold."""
    first: CatalogRow = CatalogRow(1, ())
    """The line of the header as it is written."""

    def headless(self) -> "CatalogTable":
        """The same file read as one without a header: its first line is a row too."""
        names = tuple(f"column {number}" for number in range(1, len(self.header) + 1))
        return replace(self, header=names, rows=(self.first, *self.rows))

    def values(self, column: str) -> list[str]:
        """The texts of a column, of the rows that have as many fields as the header."""
        position = self.header.index(column)
        return [r.fields[position] for r in self.rows if len(r.fields) == len(self.header)]

    def records(self, free_column: str | None) -> tuple[list[dict[str, str]], tuple[int, ...]]:
        """Each row's column to text, and the lines of all malformed rows.

        Args:
            free_column: A column of free words; where it is the last one, stray commas in it are
                taken for commas of its text.
        """
        joins = free_column == self.header[-1]
        longer = tuple(r.line for r in self.rows if len(r.fields) > len(self.header))
        kept = (row for row in self.rows if joins or len(row.fields) == len(self.header))
        records = [dict(zip(self.header, self._joined(row), strict=True)) for row in kept]
        return records, tuple(sorted((*self.malformed, *(() if joins else longer))))

    def _joined(self, row: CatalogRow) -> tuple[str, ...]:
        last = len(self.header) - 1
        return (*row.fields[:last], f"{self.delimiter} ".join(row.fields[last:]))


def read_catalog_csv(
    path: Path, *, delimiter: str | None = None, encoding: str | None = None
) -> CatalogTable:
    """Reads a CSV with a header.

    Args:
        path: A text file.
        delimiter: One character; by default what separates most rows into as many fields.
        encoding: A name that Python knows; by default what the bytes tell.

    Raises:
        UsageError: the delimiter is not one character, or the encoding is unknown.
        DatasetError: the file is missing, empty or no CSV, or a quote is never closed.
    """
    _require_delimiter(delimiter)
    found = read_csv_text(path, encoding)
    said, text = _told_delimiter(found.text)
    separator = delimiter or said or find_delimiter(text)
    rows, malformed = _rows(path, text, separator)
    if not rows:
        raise DatasetError(f"{path} is empty: expected a header and a row a photo")
    if malformed and malformed[0] < rows[0].line:
        raise DatasetError(
            f"{path}, line {malformed[0]}: the header has a quote out of place, or holds a NUL or "
            f"what else is no text: mend that line"
        )
    header = _distinct(rows[0].fields)
    rows = [_trimmed(row, len(header)) for row in rows]
    whole = tuple(row for row in rows[1:] if len(row.fields) >= len(header))
    short = [row.line for row in rows[1:] if len(row.fields) < len(header)]
    return CatalogTable(
        path=path,
        encoding=found.encoding,
        encoding_why=found.why,
        delimiter=separator,
        header=header,
        rows=whole,
        malformed=tuple(sorted((*malformed, *short))),
        first=rows[0],
    )


def _told_delimiter(text: str) -> tuple[str | None, str]:
    """The delimiter that Excel's first line `sep=;` tells, and the text with that line empty."""
    told = _SEPARATOR_LINE.match(text)
    return (told[1], text[told.end() :]) if told else (None, text)


def _trimmed(row: CatalogRow, width: int) -> CatalogRow:
    """A row without empty fields behind its last: a delimiter may end every line."""
    return replace(row, fields=row.fields[:width]) if _is_row(row.fields, width) else row


def _require_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UsageError(
            f"`delimiter` is {delimiter!r}; expected one character, such as ',' or ';'"
        )


def _rows(path: Path, text: str, delimiter: str) -> tuple[list[CatalogRow], list[int]]:
    """The rows that are not blank, and the lines of those that are no rows of texts."""
    rows: list[CatalogRow] = []
    malformed = []
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    for start, end, fields in _records(lines, delimiter):
        if fields is None and end == start:
            malformed.append(start)
        elif fields is None or _swallows(lines[start:end], delimiter, rows, fields):
            raise DatasetError(_never_closed(path, start, end))
        elif any(map(text_fault, fields)):
            malformed.append(start)
        elif any(field.strip() for field in fields):
            rows.append(CatalogRow(start, tuple(field.strip() for field in fields)))
    return rows, malformed


def _records(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, int, list[str] | None]]:
    """First line, last line and fields of each record; None where quotes are out of place."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields: list[str] | None = next(reader)
        except StopIteration:
            return
        except csv.Error:
            fields = None
        yield start, reader.line_num, fields


def _swallows(
    inner: Sequence[str], delimiter: str, rows: Sequence[CatalogRow], fields: Sequence[str]
) -> bool:
    """Whether a record over several lines holds rows of its own, so that its quote is stray.

    Args:
        inner: Its lines but the first. The last holds the closing quote, and is no whole row.
        delimiter: Of the fields.
        rows: Those before it, the header first.
        fields: Its own.
    """
    if not inner or not rows:
        return False
    width, whole = len(rows[0].fields), inner[:-1]
    like_rows = sum(_is_row(_fields(line, delimiter), width) for line in whole)
    return not _is_row(fields, width) or (width > 1 and like_rows > len(whole) / 2)


def _is_row(fields: Sequence[str], width: int) -> bool:
    """Whether fields are as many as those of the header, but for empty ones behind."""
    return len(fields) >= width and not any(field.strip() for field in fields[width:])


def _fields(line: str, delimiter: str) -> Sequence[str]:
    """The fields of a line that stands alone; none where it is no row."""
    try:
        return next(csv.reader([line], delimiter=delimiter), ())
    except csv.Error:
        return ()


def _never_closed(path: Path, start: int, end: int) -> str:
    return (
        f"{path}, line {start}: a quote is opened that no quote closes as it should, so that the "
        f"rows to line {end} would be read as one text; expected every opening quote closed, and "
        f'quotes within a text doubled (""): mend that line'
    )


def _distinct(header: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns: those without one get a number, repeated ones get one too."""
    names: list[str] = []
    for number, name in enumerate(header, start=1):
        known = name or f"column {number}"
        while known in names:
            known = f"{known} ({number})"
        names.append(known)
    return tuple(names)
