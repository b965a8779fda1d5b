"""Vectors in Parquet files of some rows each, as a job writes them that many machines share.

A part holds `id`, `size`, `mtime_ns`, `sha256` and `embedding` of photos, or `text` and `embedding`
of captions; under `cir.part`, its metadata say which encoder made them, and how.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from cir.artefacts.parquet import verified_parquet, write_parquet
from cir.disk.files import unreadable
from cir.errors import StoreError

PART_KEY: Final = b"cir.part"
"""Parquet's metadata key for the encoder that made the vectors, as JSON."""
_VECTORS: Final = "embedding"


@dataclass(frozen=True, eq=False)
class VectorPart:
    """The rows of a part."""

    columns: Mapping[str, Sequence[Any]]
    """Texts and whole numbers, by name."""
    vectors: Float32[np.ndarray, "rows dim"]
    made: Mapping[str, Any]
    """The encoder, and how it computed."""


def write_part(path: Path, part: VectorPart) -> None:
    """Writes a part aside and moves it to `path`.

    Raises:
        CirError: the file cannot be written.
    """
    vectors = np.ascontiguousarray(part.vectors, np.float32)
    listed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    columns = {name: pa.array(values) for name, values in part.columns.items()}
    table = pa.table(columns | {_VECTORS: listed})
    write_parquet(table, path, key=PART_KEY, metadata=part.made)


def read_part(path: Path) -> VectorPart:
    """Reads a part.

    Raises:
        StoreError: it is missing, damaged, or no part.
    """
    try:
        with verified_parquet(path) as (file, _):
            made = json.loads(file.schema_arrow.metadata[PART_KEY])
            table = file.read().combine_chunks()
            dim = table.schema.field(_VECTORS).type.list_size
            flat = table.column(_VECTORS).combine_chunks().flatten().to_numpy()
            names = [name for name in table.column_names if name != _VECTORS]
            columns = {name: table.column(name).to_pylist() for name in names}
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as fault:
        raise StoreError(unreadable(path, fault, "is damaged or no part: {}")) from fault
    return VectorPart(columns, flat.reshape(-1, dim), made)
