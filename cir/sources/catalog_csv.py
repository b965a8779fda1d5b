"""The rows of a catalogue's CSV file: one photo a row, an id and columns of attributes."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cir.errors import DatasetError, UsageError
from cir.files import unreadable


@dataclass(frozen=True)
class CatalogRows:
    """What a catalogue says, and what of it could not be read."""

    rows: tuple[dict[str, str], ...]
    """Column to text, in the file's order; an id appears once."""
    malformed: tuple[int, ...]
    """Numbers of the lines with too few or too many fields, or without an id."""
    repeated: tuple[str, ...]
    """Ids that stand in a second row; their first row is kept."""


def read_catalog_csv(
    path: Path, *, id_column: str, needed: Sequence[str], free_column: str | None = None
) -> CatalogRows:
    """Reads a CSV with a header.

    Args:
        path: UTF-8 text, with or without a byte order mark.
        id_column: Column that identifies the row.
        needed: Further columns that must be there.
        free_column: A column of free words; where it is the last one, stray commas in it are
            taken for commas of its text.

    Raises:
        UsageError: a column is not in the header.
        DatasetError: the file is missing, empty or no UTF-8 CSV.
    """
    lines = _lines(path)
    _, header = next(lines, (0, []))
    if not header:
        raise DatasetError(f"{path} is empty: expected a header and a row a photo")
    _require_columns(path, header, (id_column, *needed))
    rows: dict[str, dict[str, str]] = {}
    malformed, repeated = [], []
    for number, fields in lines:
        row = _row_or_none(header, fields, joins_commas=free_column == header[-1])
        if row is None or not row[id_column]:
            malformed.append(number)
        elif row[id_column] in rows:
            repeated.append(row[id_column])
        else:
            rows[row[id_column]] = row
    return CatalogRows(tuple(rows.values()), tuple(malformed), tuple(repeated))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for fields in reader:
                if fields:
                    yield reader.line_num, [field.strip() for field in fields]
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing: expected a CSV with a row a photo") from None
    except UnicodeDecodeError as fault:
        raise DatasetError(
            f"{path} is not UTF-8 at byte {fault.start}: save it as UTF-8 first"
        ) from fault
    except (OSError, csv.Error) as fault:
        raise DatasetError(unreadable(path, fault, "is not readable as CSV: {}")) from fault


def _require_columns(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in header]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(header)}"
        )


def _row_or_none(
    header: list[str], fields: list[str], *, joins_commas: bool
) -> dict[str, str] | None:
    """Column to text; None where the line has too few or too many fields."""
    if joins_commas and len(fields) > len(header):
        last = len(header) - 1
        fields = [*fields[:last], ", ".join(fields[last:])]
    return dict(zip(header, fields, strict=True)) if len(fields) == len(header) else None
