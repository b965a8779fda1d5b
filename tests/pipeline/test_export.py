"""The export stage: the file it writes, what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.config import ExportConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.errors import CirError, ConfigError, DatasetError, ManifestError, UsageError
from cir.names import EXAMPLES_KEY
from pipeline.export import run
from tests.support.digests import sha256_of
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings, small_dataset

MOST = 3


@pytest.fixture
def config(dataset: Dataset, tmp_path: Path) -> dict[str, Any]:
    manifest = random_manifest(dataset, random_embeddings(dataset), most=MOST)
    write_manifest(manifest, tmp_path / "manifest.parquet")
    return {"manifest": tmp_path / "manifest.parquet", "out": tmp_path / "examples.parquet"}


def listed(manifest: Manifest, row: int) -> list[str]:
    start = manifest.negative_starts[row]
    return list(manifest.negative_ids[start : start + manifest.negative_counts[row]])


def exported(config: dict[str, Any], **changed: Any) -> pd.DataFrame:
    return pd.read_parquet(run(ExportConfig(**config | changed)))


def test_triplets_by_id_are_the_manifests(config: dict[str, Any]) -> None:
    frame, manifest = exported(config), read_manifest(config["manifest"])
    expected = [
        (
            manifest.reference_ids[row],
            joined(manifest.captions[row]),
            manifest.target_ids[row],
            name,
        )
        for row in range(len(manifest))
        for name in listed(manifest, row)
    ]
    found = zip(
        frame["anchor"].str["image"],
        frame["anchor"].str["text"],
        frame["positive"].str["image"],
        frame["negative"].str["image"],
        strict=True,
    )
    assert list(found) == expected
    assert list(frame.columns) == ["anchor", "positive", "negative"]


def test_tuples_leave_out_the_short_queries_and_name_them(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    frame, manifest = exported(config, format="n-tuple"), read_manifest(config["manifest"])
    counts = manifest.negative_counts
    assert list(frame.columns) == ["anchor", "positive", "negative_1", "negative_2", "negative_3"]
    rows = [
        [entry["image"] for entry in entries]
        for entries in frame[["negative_1", "negative_2", "negative_3"]].to_numpy()
    ]
    assert rows == [listed(manifest, row) for row in np.flatnonzero(counts == MOST)]
    short = [name for name, count in zip(manifest.query_ids, counts, strict=True) if count < MOST]
    printed = capsys.readouterr().out
    assert f"{len(short)} queries left out, of fewer negatives: {', '.join(short[:3])}" in printed
    assert f"from {len(manifest) - len(short)} of {len(manifest)} queries" in printed


def test_fewer_negatives_are_the_nearest_and_leave_out_fewer(config: dict[str, Any]) -> None:
    frame = exported(config, format="n-tuple", num_negatives=1)
    manifest = read_manifest(config["manifest"])
    first = [listed(manifest, row)[0] for row in range(len(manifest))]
    assert frame["negative_1"].str["image"].tolist() == first


def test_pairs_are_labeled(config: dict[str, Any]) -> None:
    frame, manifest = exported(config, format="labeled-pair"), read_manifest(config["manifest"])
    images = frame["positive"].str["image"]
    assert images[frame["label"] == 1].tolist() == list(manifest.target_ids)
    assert images[frame["label"] == 0].tolist() == list(manifest.negative_ids)


@pytest.mark.slow
def test_a_dataset_gives_the_files_wherever_one_stands(
    config: dict[str, Any], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(dataset.root)
    monkeypatch.chdir(tmp_path)
    by_id, by_file = exported(config), exported(config, dataset=Path("link"), overwrite=True)
    for column in ("anchor", "positive", "negative"):
        files = [Path(name) for name in by_file[column].str["image"]]
        assert all(file.is_absolute() and file.is_file() for file in files)
        assert [file.stem for file in files] == by_id[column].str["image"].tolist()


@pytest.mark.slow
def test_lines_hold_what_parquet_holds(config: dict[str, Any], tmp_path: Path) -> None:
    frame = exported(config)
    run(ExportConfig(**config | {"out": tmp_path / "examples.jsonl"}))
    lines = (tmp_path / "examples.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == frame.to_dict("records")


def test_the_file_says_what_it_was_made_from(config: dict[str, Any]) -> None:
    exported(config, num_negatives=2)
    origin = json.loads(pq.read_schema(config["out"]).metadata[EXAMPLES_KEY])
    assert origin["manifest_sha256"] == sha256_of(config["manifest"])
    assert origin["manifest"] == read_manifest(config["manifest"]).metadata.to_json()
    assert (origin["format"], origin["num_negatives"]) == ("triplet", 2)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"num_negatives": 4}, UsageError, "`num_negatives` is 4; .* was mined for 3 a query"),
        ({"manifest": Path("nowhere")}, ManifestError, "no manifest at nowhere"),
        ({"dataset": Path("nowhere")}, DatasetError, "no dataset folder at .*nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line_and_no_file(
    config: dict[str, Any], changed: dict[str, Any], error: type[CirError], words: str
) -> None:
    with pytest.raises(error, match=words):
        run(ExportConfig(**config | changed))
    assert not config["out"].exists()


def test_a_photo_that_is_not_there_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    other = small_dataset(tmp_path / "other", categories=("hat",))
    with pytest.raises(DatasetError, match="no image file for dtr"):
        run(ExportConfig(**config, dataset=other.root))
    assert not config["out"].exists()


def test_tuples_that_no_query_fills_are_refused(config: dict[str, Any]) -> None:
    manifest = read_manifest(config["manifest"])
    short = np.flatnonzero(manifest.negative_counts == 2)
    write_manifest(manifest.subset(short), config["manifest"])
    with pytest.raises(ManifestError, match="the most is 2: pass `num_negatives=2` or another"):
        run(ExportConfig(**config, format="n-tuple"))
    write_manifest(manifest.subset(short[:0]), config["manifest"])
    with pytest.raises(ManifestError, match="holds no queries"):
        run(ExportConfig(**config))


def test_nothing_is_replaced_unasked(config: dict[str, Any]) -> None:
    run(ExportConfig(**config))
    with pytest.raises(UsageError, match="pass `overwrite=True`"):
        run(ExportConfig(**config))


def test_a_file_of_another_kind_is_refused_at_once(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"x.csv; expected a file ending in .parquet or .jsonl"):
        ExportConfig(**config | {"out": Path("x.csv")})
