"""Tables into Parquet files that carry a JSON object, the one way in which every stage does it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cir.files import written_aside

TEXT: Final = pa.string()
TEXTS: Final = pa.list_(pa.string())


def write_parquet(table: pa.Table, path: Path, *, key: bytes, metadata: Mapping[str, Any]) -> None:
    """Writes a table aside and moves the file to `path`.

    The file holds its content alone (no time of writing), so equal tables are equal bytes.

    Args:
        table: Named columns.
        path: The Parquet file; one that stands there is replaced.
        key: Name of the JSON object among Parquet's metadata.
        metadata: The object: what the table was made from.

    Raises:
        CirError: the file cannot be written.
    """
    described = json.dumps(metadata, ensure_ascii=False).encode("utf-8")
    with written_aside(path) as aside:
        pq.write_table(
            table.replace_schema_metadata({key: described}),
            aside,
            compression="zstd",
            write_page_checksum=True,
        )
