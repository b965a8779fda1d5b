"""The mined manifest, `manifest.parquet`: one row per query, with the negatives mined for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Int, Int8, Int32, Int64

from cir.artefacts.checksums import UnsealedError
from cir.artefacts.manifest_metadata import ManifestMetadata
from cir.artefacts.parquet import TEXT, TEXTS, verified_parquet, write_parquet
from cir.disk.files import require_file, unreadable
from cir.errors import ManifestError
from cir.names import MANIFEST_KEY
from cir.ragged import Ragged
from cir.types import KINDS, SCOPES

SCHEMA_VERSION = 2
"""Version of the columns and of the metadata."""
_UNSEALED_VERSION: Final = 1
"""The version before files carried checksums, which is read too."""


_COLUMNS: Final = {
    "query_id": TEXT,
    "category": TEXT,
    "reference_id": TEXT,
    "target_id": TEXT,
    "captions": TEXTS,
    "target_distance": pa.float32(),
    "target_rank": pa.int32(),
    "candidates_in_band": pa.int32(),
    "negative_ids": TEXTS,
    "negative_distances": pa.list_(pa.float32()),
    "negative_kinds": TEXTS,
    "negative_scopes": TEXTS,
}
_LATER_COLUMNS: Final = {"starved": pa.bool_()}
"""Columns that files of earlier versions lack."""
_MEND: Final = "run cir mine again"

_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class Manifest:
    """Queries with their mined negatives; row i of each field is query i.

    Queries have differing numbers of negatives: `negative_counts` says how many each has, and the
    flat `negative_*` fields below it hold the negatives of one query after the other.
    """

    query_ids: tuple[str, ...]
    categories: tuple[str, ...]
    reference_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    target_distances: Float32[np.ndarray, " queries"]
    """Cosine distances, 1 - cosine, of each query to its target."""
    target_ranks: Int32[np.ndarray, " queries"]
    """1 where the target is nearer than every valid candidate."""
    candidates_in_band: Int32[np.ndarray, " queries"]
    negative_counts: Int64[np.ndarray, " queries"]
    negative_ids: tuple[str, ...]
    negative_distances: Float32[np.ndarray, " flat"]
    negative_kinds: Int8[np.ndarray, " flat"]
    """Positions in `cir.types.KINDS`."""
    negative_scopes: Int8[np.ndarray, " flat"]
    """Positions in `cir.types.SCOPES`."""
    metadata: ManifestMetadata
    starved: Bool[np.ndarray, " queries"] | None = None
    """Whether the draws gave a query fewer negatives than wanted; None where a file does not tell,
    as those of earlier versions."""
    sha256: str | None = None
    """SHA-256 of the file that it was read from; None where it was not."""

    def __len__(self) -> int:
        return len(self.query_ids)

    @cached_property
    def negative_positions(self) -> Ragged:
        """The positions of each query's negatives in the flat fields."""
        return Ragged.of_lengths(self.negative_counts)

    @cached_property
    def has_one_scope(self) -> bool:
        """Whether all negatives were drawn from the same part of the gallery."""
        return bool((self.negative_scopes == self.negative_scopes[:1]).all())

    @property
    def negative_starts(self) -> Int64[np.ndarray, " queries"]:
        """The position of each query's first negative in the flat fields."""
        return self.negative_positions.starts[:-1]

    def subset(self, rows: Int[np.ndarray, " chosen"]) -> "Manifest":
        """The queries of `rows`, in their order, under the same metadata."""
        negatives = self.negative_positions.take(rows)
        return Manifest(
            query_ids=_take(self.query_ids, rows),
            categories=_take(self.categories, rows),
            reference_ids=_take(self.reference_ids, rows),
            target_ids=_take(self.target_ids, rows),
            captions=_take(self.captions, rows),
            target_distances=self.target_distances[rows],
            target_ranks=self.target_ranks[rows],
            candidates_in_band=self.candidates_in_band[rows],
            negative_counts=negatives.lengths,
            negative_ids=_take(self.negative_ids, negatives.rows),
            negative_distances=self.negative_distances[negatives.rows],
            negative_kinds=self.negative_kinds[negatives.rows],
            negative_scopes=self.negative_scopes[negatives.rows],
            metadata=self.metadata,
            starved=None if self.starved is None else self.starved[rows],
            sha256=self.sha256,
        )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Writes a manifest aside and moves it to `path`; equal manifests are equal bytes.

    Raises:
        CirError: the file cannot be written.
    """
    columns, types = _to_columns(manifest), _COLUMNS | _LATER_COLUMNS
    table = pa.table(columns, schema=pa.schema([(name, types[name]) for name in columns]))
    write_parquet(table, path, key=MANIFEST_KEY, metadata=manifest.metadata.to_json())


def read_manifest(path: Path | str) -> Manifest:
    """Reads a manifest.

    Raises:
        ManifestError: the file is missing, damaged, no manifest of cir, of another schema, lacks a
            column, or holds something else in one.
    """
    path = Path(path)
    require_file(path, ManifestError, f"no manifest at {path}: make it with cir mine")
    try:
        with verified_parquet(path) as (file, digest):
            metadata = _read_metadata(file.schema_arrow.metadata or {}, path)
            if metadata.schema_version != _UNSEALED_VERSION and not digest.sealed:
                raise UnsealedError
            _require_columns(file.schema_arrow, path)
            later = [name for name in _LATER_COLUMNS if name in file.schema_arrow.names]
            table = file.read([*_COLUMNS, *later])
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            return replace(_from_columns(columns, metadata, path), sha256=digest.sha256)
    except (pa.ArrowException, OSError, ValueError) as fault:
        damaged = f"is damaged or no Parquet ({{}}): {_MEND}"
        raise ManifestError(unreadable(path, fault, damaged)) from fault


def _take(values: Sequence[_Value], rows: Int[np.ndarray, " chosen"]) -> tuple[_Value, ...]:
    return tuple(values[row] for row in rows)


def _to_columns(manifest: Manifest) -> dict[str, Any]:
    offsets = pa.array(manifest.negative_positions.starts, pa.int32())

    def ragged(values: Any) -> Any:
        return pa.ListArray.from_arrays(offsets, values)

    starved = {} if manifest.starved is None else {"starved": pa.array(manifest.starved)}
    return {
        "query_id": pa.array(manifest.query_ids, TEXT),
        "category": pa.array(manifest.categories, TEXT),
        "reference_id": pa.array(manifest.reference_ids, TEXT),
        "target_id": pa.array(manifest.target_ids, TEXT),
        "captions": pa.array(manifest.captions, TEXTS),
        "target_distance": pa.array(manifest.target_distances),
        "target_rank": pa.array(manifest.target_ranks),
        "candidates_in_band": pa.array(manifest.candidates_in_band),
        "negative_ids": ragged(pa.array(manifest.negative_ids, TEXT)),
        "negative_distances": ragged(pa.array(manifest.negative_distances)),
        "negative_kinds": ragged(pa.array(KINDS).take(pa.array(manifest.negative_kinds))),
        "negative_scopes": ragged(pa.array(SCOPES).take(pa.array(manifest.negative_scopes))),
        **starved,
    }


def _read_metadata(entries: dict[bytes, bytes], path: Path) -> ManifestMetadata:
    if MANIFEST_KEY not in entries:
        raise ManifestError(f"{path} has no cir.manifest metadata: it is no manifest; {_MEND}")
    try:
        values = json.loads(entries[MANIFEST_KEY])
        version = values.get("schema_version")
        if version not in (_UNSEALED_VERSION, SCHEMA_VERSION):
            raise ManifestError(
                f"{path} has schema version {version}, expected {SCHEMA_VERSION}: "
                f"{_MEND} with this cir"
            )
        return ManifestMetadata.from_json(values)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise ManifestError(f"{path}: its metadata is damaged ({fault!r}): {_MEND}") from fault


def _require_columns(schema: Any, path: Path) -> None:
    lacking = [name for name in _COLUMNS if name not in schema.names]
    if lacking:
        raise ManifestError(f"{path} lacks the column {', '.join(lacking)}: {_MEND}")
    for name, expected in (_COLUMNS | _LATER_COLUMNS).items():
        actual = schema.field(name).type if name in schema.names else expected
        if actual != expected:
            raise ManifestError(f"{path}: {name} holds {actual}, expected {expected}: {_MEND}")


def _from_columns(columns: dict[str, Any], metadata: ManifestMetadata, path: Path) -> Manifest:
    for name, column in columns.items():
        if column.null_count:
            raise ManifestError(f"{path}: {name} lacks {column.null_count} values: {_MEND}")
    counts = _negative_counts(columns, path)
    flat = {name: columns[name].flatten() for name in columns if name.startswith("negative_")}
    starved = columns.get("starved")
    return Manifest(
        query_ids=tuple(columns["query_id"].to_pylist()),
        categories=tuple(columns["category"].to_pylist()),
        reference_ids=tuple(columns["reference_id"].to_pylist()),
        target_ids=tuple(columns["target_id"].to_pylist()),
        captions=tuple(tuple(texts) for texts in columns["captions"].to_pylist()),
        target_distances=columns["target_distance"].to_numpy(),
        target_ranks=columns["target_rank"].to_numpy(),
        candidates_in_band=columns["candidates_in_band"].to_numpy(),
        negative_counts=counts,
        negative_ids=tuple(flat["negative_ids"].to_pylist()),
        negative_distances=flat["negative_distances"].to_numpy(),
        negative_kinds=_codes(flat["negative_kinds"], KINDS, f"{path}: negative_kinds"),
        negative_scopes=_codes(flat["negative_scopes"], SCOPES, f"{path}: negative_scopes"),
        metadata=metadata,
        starved=None if starved is None else starved.to_numpy(zero_copy_only=False),
    )


def _negative_counts(columns: dict[str, Any], path: Path) -> Int64[np.ndarray, " queries"]:
    """How many negatives each query has, the same in every column of them."""
    counts = pc.list_value_length(columns["negative_ids"]).to_numpy(zero_copy_only=False)
    for name in columns:
        if name.startswith("negative_"):
            lengths = pc.list_value_length(columns[name]).to_numpy(zero_copy_only=False)
            if not np.array_equal(counts, lengths):
                raise ManifestError(f"{path}: {name} and negative_ids differ in length: {_MEND}")
    return np.asarray(counts, dtype=np.int64)


def _codes(values: Any, words: Sequence[str], what: str) -> Int8[np.ndarray, " flat"]:
    """Each word's position in `words`."""
    codes = pc.index_in(values, value_set=pa.array(words))
    if codes.null_count:
        unknown = values.filter(pc.is_null(codes))[0].as_py()
        raise ManifestError(f"{what} holds {unknown!r}, expected one of {', '.join(words)}")
    return np.asarray(codes.to_numpy(), dtype=np.int8)
