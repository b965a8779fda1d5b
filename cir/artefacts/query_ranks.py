"""Per-query results of an evaluation as Parquet, which pandas, polars and duckdb read as it is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cir.files import written_aside

METADATA_KEY: Final = b"cir.evaluation"
"""Parquet's metadata key for the protocol and the provenance, as JSON."""

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_COLUMNS: Final = {
    "query_id": _TEXT,
    "category": _TEXT,
    "reference_id": _TEXT,
    "captions": _TEXTS,
    "text": _TEXT,
    "target_ids": _TEXTS,
    "best_target_id": _TEXT,
    "rank": pa.int32(),
    "target_distance": pa.float32(),
    "gallery_size": pa.int32(),
    "subset_rank": pa.int32(),
    "subset_ids": _TEXTS,
    "retrieved_ids": _TEXTS,
    "retrieved_distances": pa.list_(pa.float32()),
}


def write_query_ranks(
    columns: Mapping[str, Sequence[Any]], path: Path, origin: Mapping[str, Any]
) -> None:
    """Writes a row a query aside and moves the file to `path`.

    Args:
        columns: Those of `cir.evaluation.query_rows`.
        path: The Parquet file.
        origin: Protocol and provenance, as JSON values.

    Raises:
        CirError: the file cannot be written.
    """
    described = json.dumps(origin, ensure_ascii=False).encode("utf-8")
    schema = pa.schema(list(_COLUMNS.items()), metadata={METADATA_KEY: described})
    table = pa.table(dict(columns), schema=schema)
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd", write_page_checksum=True)
