"""The manifest: the contract's columns, read back whole, and a bad file ends in one line."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.artefacts.manifest_metadata import ManifestCounts, ManifestMetadata
from cir.artefacts.provenance import Provenance
from cir.errors import CirError, ManifestError
from cir.types import KINDS, SCOPES

METADATA = ManifestMetadata(
    schema_version=1,
    cir_version="0.1.0",
    strategy="semi-hard",
    margin=0.2,
    seed=3,
    epoch=0,
    query="sum",
    split="train",
    options={"strategy": "semi-hard", "margin": 0.2, "seed": 3, "duplicate_threshold": 0.99},
    embeddings_sha256="e" * 64,
    provenance=Provenance("RN50x4", "openai", "ab" * 32, "targetpad", 640),
    checkpoint_sha256=None,
    counts=ManifestCounts(
        queries=4,
        starved=3,
        dropped=2,
        excluded_as_duplicates=7,
        excluded_as_duplicate_bytes=4,
        excluded_as_duplicate_vectors=3,
        excluded_as_siblings=5,
        excluded_by_target_similarity=6,
        excluded_by_relative_margin=8,
        excluded_by_max_similarity=9,
        excluded_by_ranks=10,
        starved_empty=1,
    ),
)
SEALED = dataclasses.replace(METADATA, schema_version=2)
"""Of today; the version before is read with a checksum or without."""
OF_THE_FIRST_CIR = ("queries", "starved", "dropped", "excluded_as_duplicates")
"""The counts that every manifest has."""


def drawn(counts: list[int], seed: int = 0, metadata: ManifestMetadata = METADATA) -> Manifest:
    """A manifest of random content, with `counts` negatives a query."""
    rng, rows, flat = np.random.default_rng(seed), len(counts), sum(counts)
    return Manifest(
        query_ids=tuple(f"dress-train-{row:05d}" for row in range(rows)),
        categories=("dress",) * rows,
        reference_ids=tuple(f"r{i}" for i in rng.integers(0, 99, rows)),
        target_ids=tuple(f"t{i}" for i in rng.integers(0, 99, rows)),
        captions=tuple((f"is größer {row}", "")[: row % 3] for row in range(rows)),
        target_distances=rng.random(rows, np.float32),
        target_ranks=rng.integers(1, 99, rows, np.int32),
        candidates_in_band=rng.integers(0, 99, rows, np.int32),
        negative_counts=np.array(counts, np.int64),
        negative_ids=tuple(f"n{i}" for i in rng.integers(0, 99, flat)),
        negative_distances=rng.random(flat, np.float32),
        negative_kinds=rng.integers(0, len(KINDS), flat, np.int8),
        negative_scopes=rng.integers(0, len(SCOPES), flat, np.int8),
        metadata=metadata,
    )


def test_who_starved_is_kept_and_files_without_it_are_read(tmp_path: Path) -> None:
    made = drawn([2, 0, 3])
    told = dataclasses.replace(made, starved=np.array([False, True, False]))
    write_manifest(told, tmp_path / "told.parquet")
    write_manifest(made, tmp_path / "earlier.parquet")
    assert fields(read_manifest(tmp_path / "told.parquet")) == fields(told)
    assert read_manifest(tmp_path / "earlier.parquet").starved is None
    chosen = told.subset(np.array([1, 0])).starved
    assert chosen is not None
    assert chosen.tolist() == [True, False]


def fields(manifest: Manifest) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(manifest)} - {"sha256"}
    found = {name: getattr(manifest, name) for name in names}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.parquet"
    write_manifest(drawn([2, 0, 3, 1]), path)
    return path


@pytest.mark.parametrize("counts", [[2, 0, 3, 1], [5], [0], [], [0, 0]])
def test_what_is_written_is_read_back(tmp_path: Path, counts: list[int]) -> None:
    manifest = drawn(counts)
    write_manifest(manifest, tmp_path / "m.parquet")
    found = read_manifest(tmp_path / "m.parquet")
    assert fields(found) == fields(manifest)
    assert len(found) == len(counts)
    for name in ("target_distances", "target_ranks", "candidates_in_band", "negative_kinds"):
        assert getattr(found, name).dtype == getattr(manifest, name).dtype


def test_the_columns_are_the_contracts(path: Path) -> None:
    schema = pq.read_schema(path)
    assert {
        name: str(schema.field(name).type).replace("element", "item") for name in schema.names
    } == {
        "query_id": "string",
        "category": "string",
        "reference_id": "string",
        "target_id": "string",
        "captions": "list<item: string>",
        "target_distance": "float",
        "target_rank": "int32",
        "candidates_in_band": "int32",
        "negative_ids": "list<item: string>",
        "negative_distances": "list<item: float>",
        "negative_kinds": "list<item: string>",
        "negative_scopes": "list<item: string>",
    }


def test_the_metadata_is_one_flat_object(path: Path) -> None:
    found = json.loads(pq.read_schema(path).metadata[b"cir.manifest"])
    assert found["duplicate_threshold"] == 0.99
    assert found["strategy"] == "semi-hard"
    assert found["checkpoint_sha256"] is None
    assert found["counts"] == dataclasses.asdict(METADATA.counts)
    assert set(OF_THE_FIRST_CIR) < set(found["counts"])
    assert found["provenance"]["model"] == "RN50x4"
    assert "options" not in found


def test_counts_that_an_older_cir_did_not_make_are_zero(path: Path) -> None:
    table = pq.read_table(path)
    described = json.loads(table.schema.metadata[b"cir.manifest"])
    older = {name: described["counts"][name] for name in OF_THE_FIRST_CIR}
    metadata = {b"cir.manifest": json.dumps(described | {"counts": older}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_manifest(path).metadata.counts == ManifestCounts(4, 3, 2, 7)


def test_pandas_reads_it_plainly(path: Path) -> None:
    manifest, frame = drawn([2, 0, 3, 1]), pd.read_parquet(path)
    assert list(frame["query_id"]) == list(manifest.query_ids)
    assert list(frame["captions"][2]) == list(manifest.captions[2])
    assert list(frame["negative_ids"][2]) == list(manifest.negative_ids[2:5])
    assert list(frame["negative_kinds"][0]) == [KINDS[k] for k in manifest.negative_kinds[:2]]
    assert list(frame["negative_scopes"][3]) == [SCOPES[manifest.negative_scopes[5]]]
    np.testing.assert_array_equal(frame["negative_distances"][2], manifest.negative_distances[2:5])
    np.testing.assert_array_equal(frame["target_rank"], manifest.target_ranks)


def test_equal_manifests_are_equal_bytes(path: Path, tmp_path: Path) -> None:
    write_manifest(drawn([2, 0, 3, 1]), tmp_path / "again.parquet")
    write_manifest(read_manifest(path), tmp_path / "copied.parquet")
    write_manifest(drawn([2, 0, 3, 1], seed=1), tmp_path / "other.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()
    assert (tmp_path / "copied.parquet").read_bytes() == path.read_bytes()
    assert (tmp_path / "other.parquet").read_bytes() != path.read_bytes()


@pytest.mark.parametrize("rows", [[2], [3, 0], [], [1, 2, 2], [0, 1, 2, 3]])
def test_a_subset_is_the_rows_it_names(rows: list[int]) -> None:
    manifest = drawn([2, 0, 3, 1])
    found = manifest.subset(np.array(rows, np.int64))
    starts = np.cumsum([0, 2, 0, 3, 1])
    flat = [i for row in rows for i in range(starts[row], starts[row + 1])]
    assert found.query_ids == tuple(manifest.query_ids[row] for row in rows)
    assert found.captions == tuple(manifest.captions[row] for row in rows)
    assert found.target_ranks.tolist() == [manifest.target_ranks[row] for row in rows]
    assert found.negative_counts.tolist() == [[2, 0, 3, 1][row] for row in rows]
    assert found.negative_ids == tuple(manifest.negative_ids[i] for i in flat)
    assert found.negative_distances.tolist() == [manifest.negative_distances[i] for i in flat]
    assert found.negative_kinds.tolist() == [manifest.negative_kinds[i] for i in flat]
    assert found.metadata == manifest.metadata


@pytest.mark.slow
def test_eighteen_thousand_queries_read_fast(tmp_path: Path) -> None:
    write_manifest(drawn([5] * 18_000), tmp_path / "m.parquet")
    started = time.perf_counter()
    found = read_manifest(tmp_path / "m.parquet")
    assert time.perf_counter() - started < 5  # a fraction of a second; loaded machines are slow
    assert len(found) == 18_000


def rewritten(path: Path, **columns: Any) -> None:
    """Writes the file again with columns replaced, or removed where None."""
    table = pq.read_table(path)
    for name, values in columns.items():
        at = table.schema.names.index(name)
        table = table.remove_column(at)
        if values is not None:
            table = table.add_column(at, name, values)
    older = {b"cir.manifest": table.schema.metadata[b"cir.manifest"]}
    pq.write_table(table.replace_schema_metadata(older), path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"negative_ids": None}, "lacks the column negative_ids"),
        ({"query_id": None, "target_id": None}, "lacks the column query_id, target_id"),
        ({"target_rank": pa.array([1.5] * 4)}, "target_rank holds double, expected int32"),
        ({"target_rank": pa.array([1, 2, None, 4], pa.int32())}, "target_rank lacks 1 values"),
        (
            {"negative_kinds": pa.array([["hard"], [], [], []])},
            "negative_kinds and negative_ids differ in length",
        ),
        (
            {"negative_kinds": pa.array([["hard", "soft"], [], ["easy"] * 3, ["hard"]])},
            "negative_kinds holds 'soft', expected one of hard, semi-hard, easy",
        ),
        (
            {"negative_scopes": pa.array([["any", None], [], ["any"] * 3, ["any"]])},
            "negative_scopes holds None",
        ),
    ],
)
def test_wrong_columns_are_named(path: Path, columns: dict[str, Any], words: str) -> None:
    rewritten(path, **columns)
    with pytest.raises(ManifestError, match=words) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "no cir.manifest metadata"),
        (b"{", "metadata is damaged"),
        (b"[1]", "metadata is damaged"),
        (b'{"schema_version": 9}', "schema version 9, expected 2"),
        (b'{"schema_version": 1}', "metadata is damaged .*provenance"),
    ],
)
def test_wrong_metadata_is_one_line(path: Path, metadata: bytes | None, words: str) -> None:
    table = pq.read_table(path)
    kept = {b"cir.manifest": metadata} if metadata is not None else None
    pq.write_table(table.replace_schema_metadata(kept), path)
    with pytest.raises(ManifestError, match=words) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_manifest_is_one_line(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ManifestError, match="damaged or no Parquet") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_every_flipped_byte_is_refused(path: Path) -> None:
    write_manifest(drawn([2, 0, 3, 1], metadata=SEALED), path)
    whole = bytearray(path.read_bytes())
    for at in range(0, len(whole), 13):
        damaged = whole.copy()
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ManifestError) as caught:
            read_manifest(path)
        assert "\n" not in str(caught.value)


def test_a_manifest_knows_the_bytes_that_it_was_read_from(path: Path) -> None:
    found = read_manifest(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.subset(np.array([0])).sha256 == found.sha256


def test_a_manifest_without_its_checksum_is_refused_unless_it_is_old(path: Path) -> None:
    assert read_manifest(path).metadata.schema_version == 1
    rewritten(path)
    assert len(read_manifest(path)) == 4
    write_manifest(drawn([2, 0, 3, 1], metadata=SEALED), path)
    rewritten(path)
    with pytest.raises(ManifestError, match=r"it carries no checksum, or another program wrote it"):
        read_manifest(path)


def test_a_missing_manifest_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest at .*cir mine"):
        read_manifest(tmp_path / "manifest.parquet")


def test_a_full_disk_leaves_the_old_manifest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: object, aside: Path, **__: object) -> None:
        aside.write_bytes(b"PAR1 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(CirError, match=r"cannot write .*No space left"):
        write_manifest(drawn([1]), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder"):
        read_manifest(tmp_path)


def test_whether_all_negatives_are_of_one_scope() -> None:
    manifest = drawn([2, 3])
    same, other = np.zeros(5, np.int8), np.array([0, 0, 0, 0, 1], np.int8)
    assert dataclasses.replace(manifest, negative_scopes=same).has_one_scope
    assert not dataclasses.replace(manifest, negative_scopes=other).has_one_scope
    assert drawn([0, 0]).has_one_scope
