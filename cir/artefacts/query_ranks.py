"""Per-query results of an evaluation as Parquet, which pandas, polars and duckdb read as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cir.artefacts.parquet import TEXT, TEXTS, write_parquet
from cir.names import RANKS_KEY

_COLUMNS: Final = {
    "query_id": TEXT,
    "category": TEXT,
    "reference_id": TEXT,
    "captions": TEXTS,
    "text": TEXT,
    "target_ids": TEXTS,
    "best_target_id": TEXT,
    "rank": pa.int32(),
    "target_distance": pa.float32(),
    "gallery_size": pa.int32(),
    "subset_rank": pa.int32(),
    "subset_ids": TEXTS,
    "retrieved_ids": TEXTS,
    "retrieved_distances": pa.list_(pa.float32()),
}


def write_query_ranks(
    columns: Mapping[str, Sequence[Any]], path: Path, origin: Mapping[str, Any]
) -> None:
    """Writes one row per query aside and moves the file to `path`.

    Args:
        columns: Those of `cir.evaluation.query_rows`.
        path: The Parquet file; one that stands there is replaced.
        origin: Protocol and provenance, as JSON values.

    Raises:
        CirError: the file cannot be written.
    """
    table = pa.table(dict(columns), schema=pa.schema(list(_COLUMNS.items())))
    write_parquet(table, path, key=RANKS_KEY, metadata=origin)
