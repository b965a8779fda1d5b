"""Plain columns into a file that other libraries read: Parquet, or a JSON object a line."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cir.artefacts.parquet import write_parquet
from cir.disk.files import written_aside
from cir.errors import UsageError
from cir.names import EXAMPLES_KEY

_JSONL: Final = ".jsonl"


def write_columns(
    columns: Mapping[str, Sequence[Any]], path: Path, origin: Mapping[str, Any]
) -> None:
    """Writes columns of one length aside and moves the file to `path`.

    Args:
        columns: Values by name; texts, numbers, or objects of them with the same keys in each row.
        path: A name that ends in .jsonl is written as JSON lines, any other as Parquet.
        origin: What they were made from, as JSON under `EXAMPLES_KEY`; .jsonl cannot hold it.

    Raises:
        UsageError: the columns differ in length.
        CirError: the file cannot be written.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"`columns` differ in length ({lengths}); expected a value a row in each")
    if path.suffix == _JSONL:
        _write_lines(columns, path)
    else:
        write_parquet(pa.table(dict(columns)), path, key=EXAMPLES_KEY, metadata=origin)


def _write_lines(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    with written_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        for row in zip(*columns.values(), strict=True):
            line = json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
            file.write(line + "\n")
