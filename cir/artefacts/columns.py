"""Plain columns into a file that other libraries read: Parquet, or a JSON object a line."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cir.files import written_aside

EXPORT_KEY: Final = b"cir.export"
"""Parquet's metadata key for what the columns were made from."""

_JSONL: Final = ".jsonl"


def write_columns(
    columns: Mapping[str, Sequence[Any]], path: Path, origin: Mapping[str, Any]
) -> None:
    """Writes columns of one length aside and moves the file to `path`.

    Args:
        columns: Values by name; texts, numbers, or objects of them with the same keys in each row.
        path: .jsonl, or Parquet whatever else it ends in.
        origin: What they were made from, as JSON under `EXPORT_KEY`; .jsonl has no place for it.

    Raises:
        CirError: the file cannot be written.
    """
    with written_aside(path) as aside:
        if path.suffix == _JSONL:
            _write_lines(columns, aside)
        else:
            described = json.dumps(origin, ensure_ascii=False).encode("utf-8")
            table = pa.table(dict(columns)).replace_schema_metadata({EXPORT_KEY: described})
            pq.write_table(table, aside, compression="zstd", write_page_checksum=True)


def _write_lines(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*columns.values(), strict=True):
            line = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
            file.write(line + "\n")
