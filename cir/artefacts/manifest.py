"""The mined manifest, `manifest.parquet`, a row a query: the only module that knows Parquet.

The file holds nothing but its content (no time of writing), so equal manifests are equal bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32, Int, Int8, Int32, Int64

from cir.artefacts.provenance import Provenance
from cir.errors import ManifestError
from cir.files import require_file, unreadable, written_aside
from cir.types import KINDS, SCOPES

SCHEMA_VERSION = 1
"""Version of the columns and of the metadata; a reader refuses any other."""

METADATA_KEY: Final = b"cir.manifest"

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_COLUMNS: Final = {
    "query_id": _TEXT,
    "category": _TEXT,
    "reference_id": _TEXT,
    "target_id": _TEXT,
    "captions": _TEXTS,
    "target_distance": pa.float32(),
    "target_rank": pa.int32(),
    "candidates_in_band": pa.int32(),
    "negative_ids": _TEXTS,
    "negative_distances": pa.list_(pa.float32()),
    "negative_kinds": _TEXTS,
    "negative_scopes": _TEXTS,
}
_MEND = "run cir mine again"


@dataclass(frozen=True)
class ManifestCounts:
    """What mining met, counted; candidates are counted over all queries.

    A manifest of a cir that did not know a filter yet has none of its counts: they are 0.
    """

    queries: int
    """Rows of the manifest."""
    starved: int
    """Queries whose band held fewer than the wanted number."""
    dropped: int
    """Queries left out: an image of theirs was skipped, or they were starved and dropped."""
    excluded_as_duplicates: int
    """Candidates that were refused as duplicates of a target: the next two together."""
    excluded_as_duplicate_bytes: int = 0
    """Those with the target's bytes."""
    excluded_as_duplicate_vectors: int = 0
    """Those near to the target, with other bytes."""
    excluded_as_siblings: int = 0
    """Candidates refused as targets of the same reference under other captions."""
    excluded_by_target_similarity: int = 0
    """Candidates refused as too similar to the target."""
    excluded_by_relative_margin: int = 0
    """Valid candidates refused as too similar to the query beside its target."""
    excluded_by_max_similarity: int = 0
    """Valid candidates refused as too similar to the query."""
    excluded_by_ranks: int = 0
    """Valid candidates refused as outside the window of ranks."""
    starved_empty: int = 0
    """The starved queries whose band held nothing at all."""


@dataclass(frozen=True)
class Approximation:
    """How far mining through an approximate index is from exact: on a sample, mined both ways."""

    index: str
    """As FAISS's `index_factory` names it."""
    candidates: int
    """Proposed for each query; ranks and counts of the manifest are those among them."""
    queries: int
    """In the sample."""
    negatives_found: float
    """Share of the exact negatives."""
    rows_identical: float
    """Share of the queries with exactly the exact negatives."""
    target_rank_error: float
    """Mean absolute error."""
    candidates_in_band_error: float
    """Mean absolute error."""


@dataclass(frozen=True)
class ManifestMetadata:
    """How a manifest was mined: enough to mine it again, and to refuse a store of another."""

    schema_version: int
    cir_version: str
    strategy: str
    margin: float
    seed: int
    epoch: int
    query: str
    split: str
    options: dict[str, Any]
    """Every field of `cir.config.MiningOptions`, strategy, margin and seed among them."""
    embeddings_sha256: str
    provenance: Provenance
    checkpoint_sha256: str | None
    counts: ManifestCounts
    approximation: Approximation | None = None
    """None where mining was exact, as it was in every manifest that does not say."""
    curriculum: str | None = None
    """Strategies and epochs of the training run that mined it, where it changes them."""

    def to_json(self) -> dict[str, Any]:
        """One object, the options' entries beside the rest."""
        own = asdict(self)
        options: dict[str, Any] = own.pop("options")
        return options | own


@dataclass(frozen=True, eq=False)
class Manifest:
    """Queries with their mined negatives; row i of each field is query i.

    Queries have differing numbers of negatives: `negative_counts` says how many, and the
    `negative_*` fields below it hold them one query after the other.
    """

    query_ids: tuple[str, ...]
    categories: tuple[str, ...]
    reference_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    target_distances: Float32[np.ndarray, " queries"]
    target_ranks: Int32[np.ndarray, " queries"]
    """1 where the target is nearest of the valid candidates."""
    candidates_in_band: Int32[np.ndarray, " queries"]
    negative_counts: Int64[np.ndarray, " queries"]
    negative_ids: tuple[str, ...]
    negative_distances: Float32[np.ndarray, " flat"]
    negative_kinds: Int8[np.ndarray, " flat"]
    """Positions in `cir.types.KINDS`."""
    negative_scopes: Int8[np.ndarray, " flat"]
    """Positions in `cir.types.SCOPES`."""
    metadata: ManifestMetadata

    def __len__(self) -> int:
        return len(self.query_ids)

    @cached_property
    def negative_starts(self) -> Int64[np.ndarray, " queries"]:
        """Where each query's negatives begin in the flat fields."""
        starts: Int64[np.ndarray, " queries"] = (
            np.cumsum(self.negative_counts) - self.negative_counts
        )
        return starts

    def subset(self, rows: Int[np.ndarray, " chosen"]) -> "Manifest":
        """The queries of `rows`, in their order, under the same metadata."""
        counts = self.negative_counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        flat = np.repeat(self.negative_starts[rows], counts) + within
        return Manifest(
            query_ids=_pick(self.query_ids, rows),
            categories=_pick(self.categories, rows),
            reference_ids=_pick(self.reference_ids, rows),
            target_ids=_pick(self.target_ids, rows),
            captions=tuple(self.captions[row] for row in rows),
            target_distances=self.target_distances[rows],
            target_ranks=self.target_ranks[rows],
            candidates_in_band=self.candidates_in_band[rows],
            negative_counts=counts,
            negative_ids=_pick(self.negative_ids, flat),
            negative_distances=self.negative_distances[flat],
            negative_kinds=self.negative_kinds[flat],
            negative_scopes=self.negative_scopes[flat],
            metadata=self.metadata,
        )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Writes a manifest aside and moves it to `path`.

    Raises:
        CirError: the file cannot be written.
    """
    described = json.dumps(manifest.metadata.to_json(), ensure_ascii=False)
    schema = pa.schema(list(_COLUMNS.items()), metadata={METADATA_KEY: described.encode("utf-8")})
    table = pa.table(_columns(manifest), schema=schema)
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd", write_page_checksum=True)


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        ManifestError: the file is missing, damaged, no manifest of cir, of another schema, lacks a
            column, or holds something else in one.
    """
    require_file(path, ManifestError, f"no manifest at {path}: make it with cir mine")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = _metadata(file.schema_arrow.metadata or {}, path)
            _require_columns(file.schema_arrow, path)
            table = file.read(list(_COLUMNS))
            columns = {name: table[name].combine_chunks() for name in _COLUMNS}
            return _manifest(columns, metadata, path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        damaged = f"is damaged or no Parquet ({{}}): {_MEND}"
        raise ManifestError(unreadable(path, fault, damaged)) from fault


def _pick(names: Sequence[str], rows: Int[np.ndarray, " chosen"]) -> tuple[str, ...]:
    return tuple(names[row] for row in rows)


def _columns(manifest: Manifest) -> dict[str, Any]:
    offsets = pa.array(np.append(0, np.cumsum(manifest.negative_counts)), pa.int32())

    def ragged(values: Any) -> Any:
        return pa.ListArray.from_arrays(offsets, values)

    return {
        "query_id": pa.array(manifest.query_ids, _TEXT),
        "category": pa.array(manifest.categories, _TEXT),
        "reference_id": pa.array(manifest.reference_ids, _TEXT),
        "target_id": pa.array(manifest.target_ids, _TEXT),
        "captions": pa.array(manifest.captions, _TEXTS),
        "target_distance": pa.array(manifest.target_distances),
        "target_rank": pa.array(manifest.target_ranks),
        "candidates_in_band": pa.array(manifest.candidates_in_band),
        "negative_ids": ragged(pa.array(manifest.negative_ids, _TEXT)),
        "negative_distances": ragged(pa.array(manifest.negative_distances)),
        "negative_kinds": ragged(pa.array(KINDS).take(pa.array(manifest.negative_kinds))),
        "negative_scopes": ragged(pa.array(SCOPES).take(pa.array(manifest.negative_scopes))),
    }


def _metadata(found: dict[bytes, bytes], path: Path) -> ManifestMetadata:
    if METADATA_KEY not in found:
        raise ManifestError(f"{path} has no cir.manifest metadata: it is no manifest; {_MEND}")
    try:
        values = json.loads(found[METADATA_KEY])
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ManifestError(
                f"{path} has schema version {version}, expected {SCHEMA_VERSION}: "
                f"{_MEND} with this cir"
            )
        return _parsed(values)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise ManifestError(f"{path}: its metadata is damaged ({fault!r}): {_MEND}") from fault


def _parsed(values: dict[str, Any]) -> ManifestMetadata:
    """The metadata of one JSON object; what is not the manifest's own is an option of mining."""
    names = {item.name for item in fields(ManifestMetadata)} - {"options"}
    shared = ("strategy", "margin", "seed")
    options = {name: v for name, v in values.items() if name not in names or name in shared}
    measured = values.get("approximation")
    nested = {
        "options": options,
        "approximation": None if measured is None else Approximation(**measured),
        "provenance": Provenance(**values["provenance"]),
        "counts": ManifestCounts(**values["counts"]),
    }
    plain = {name: values[name] for name in names - set(nested) if name in values}
    return ManifestMetadata(**plain | nested)


def _require_columns(schema: Any, path: Path) -> None:
    lacking = [name for name in _COLUMNS if name not in schema.names]
    if lacking:
        raise ManifestError(f"{path} lacks the column {', '.join(lacking)}: {_MEND}")
    for name, kind in _COLUMNS.items():
        if schema.field(name).type != kind:
            found = schema.field(name).type
            raise ManifestError(f"{path}: {name} holds {found}, expected {kind}: {_MEND}")


def _manifest(columns: dict[str, Any], metadata: ManifestMetadata, path: Path) -> Manifest:
    for name, column in columns.items():
        if column.null_count:
            raise ManifestError(f"{path}: {name} lacks {column.null_count} values: {_MEND}")
    counts = _negative_counts(columns, path)
    flat = {name: columns[name].flatten() for name in columns if name.startswith("negative_")}
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
    )


def _negative_counts(columns: dict[str, Any], path: Path) -> Int64[np.ndarray, " queries"]:
    """How many negatives each query has, the same in every column of them."""
    counts = pc.list_value_length(columns["negative_ids"]).to_numpy(zero_copy_only=False)
    for name in columns:
        if name.startswith("negative_"):
            its = pc.list_value_length(columns[name]).to_numpy(zero_copy_only=False)
            if not np.array_equal(counts, its):
                raise ManifestError(f"{path}: {name} and negative_ids differ in length: {_MEND}")
    return np.asarray(counts, dtype=np.int64)


def _codes(values: Any, words: Sequence[str], what: str) -> Int8[np.ndarray, " flat"]:
    """Each word's position in `words`."""
    found = pc.index_in(values, value_set=pa.array(words))
    if found.null_count:
        strange = values.filter(pc.is_null(found))[0].as_py()
        raise ManifestError(f"{what} holds {strange!r}, expected one of {', '.join(words)}")
    return np.asarray(found.to_numpy(), dtype=np.int8)
