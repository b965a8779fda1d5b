"""Tables into Parquet files that carry a JSON object, the one way in which every stage does it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cir.artefacts.checksums import PLACE, Digest, seal, verified
from cir.disk.files import written_aside
from cir.disk.reading import opened

TEXT: Final = pa.string()
TEXTS: Final = pa.list_(pa.string())
CHECKSUM_KEY: Final = b"cir.checksum"
"""Among Parquet's metadata: the checksum of the whole file (`cir.artefacts.checksums`)."""


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
            table.replace_schema_metadata({key: described, CHECKSUM_KEY: PLACE}),
            aside,
            compression="zstd",
            write_page_checksum=True,
        )
        with aside.open("r+b") as file:
            seal(file)


@contextmanager
def verified_parquet(
    path: Path, *, edited_ok: bool = False
) -> Iterator[tuple[pq.ParquetFile, Digest]]:
    """One open file, and the digest of its bytes, which are those that are read.

    Args:
        path: The file.
        edited_ok: Whether people write into it by other programs, which take the checksum along.

    Raises:
        ChecksumError: it carries a checksum that does not agree.
        ArrowException: it is no Parquet.
        OSError: the system refuses it.
    """
    with opened(path) as file:
        digest = verified(file, edited_ok=edited_ok)
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            yield table, digest
