"""How a CSV file is written: its encoding, and what separates its fields."""

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cir.disk.files import unreadable
from cir.disk.reading import read_bytes
from cir.errors import DatasetError, UsageError

DELIMITERS: Final = (",", ";", "\t", "|")
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What a file begins with, and the encoding that it tells."""
_ROWS: Final = 100
"""Rows that the delimiter is found by."""
_NULS: Final = 0.2
"""Share of zero bytes from which on text is UTF-16, which writes Latin letters with one each."""


@dataclass(frozen=True)
class CsvText:
    """A file's text."""

    text: str
    encoding: str
    why: str
    """What tells the encoding."""


def read_csv_text(path: Path, encoding: str | None) -> CsvText:
    """Reads a text file in the encoding that is given, or in the one that its bytes tell.

    Raises:
        UsageError: there is no such encoding.
        DatasetError: the file is missing, a folder, or not in that encoding.
    """
    content = _bytes_of(path)
    if encoding is not None:
        return CsvText(_decoded(path, content, encoding), encoding, "as given")
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return CsvText(_decoded(path, content, name), name, "by its byte order mark")
    if content.count(0) > _NULS * len(content):
        name = "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
        return CsvText(_decoded(path, content, name), name, "by its zero bytes")
    return _utf8_or_western(content)


def find_delimiter(text: str) -> str:
    """What separates the fields of most rows into as many as the header has; else a comma."""
    lines = list(islice(io.StringIO(text, newline=""), _ROWS))
    return max(DELIMITERS, key=lambda delimiter: _agreement(lines, delimiter))


def _agreement(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """Rows with as many fields as the header, if it has several; and how many those are."""
    try:
        counts = [len(fields) for fields in csv.reader(lines, delimiter=delimiter) if fields]
    except csv.Error:
        return 0, 0
    if not counts or counts[0] < 2:
        return 0, 0
    return counts.count(counts[0]), counts[0]


def _utf8_or_western(content: bytes) -> CsvText:
    """The text as UTF-8, or else as Windows' western encoding, in which most bytes are letters."""
    try:
        return CsvText(content.decode("utf-8"), "utf-8", "its bytes are valid in it")
    except UnicodeDecodeError as fault:
        why = f"it is not UTF-8 at byte {fault.start}"
    try:
        return CsvText(content.decode("cp1252"), "cp1252", why)
    except UnicodeDecodeError:
        return CsvText(content.decode("latin-1"), "latin-1", why)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing: expected a CSV with a row a photo") from None
    except OSError as fault:
        raise DatasetError(unreadable(path, fault, "is not readable as CSV: {}")) from fault


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (LookupError, TypeError) as fault:
        raise UsageError(
            f"`encoding` is {encoding!r}, which is no text encoding: expected a name such as "
            f"utf-8, cp1252, utf-16 or shift_jis"
        ) from fault
    except UnicodeError as fault:
        at = f" at byte {fault.start}" if isinstance(fault, UnicodeDecodeError) else ""
        raise DatasetError(
            f"{path} is not in {encoding}{at}: pass its own as `encoding`, or save it as UTF-8"
        ) from fault
