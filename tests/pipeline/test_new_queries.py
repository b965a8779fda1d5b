"""From mined pairs to a dataset with more queries: mine --propose, caption-pairs, add-queries."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from cir.artefacts.manifest import read_manifest
from cir.artefacts.pairs import read_pairs
from cir.artefacts.store import read_embeddings
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.mining.machine import Machine
from cir.mining.proposals import propose_pairs
from cir.models.composition import baseline, composed_queries
from cir.names import ADDED_FILE
from cir.sources.synthetic.dataset import draw_dataset
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from tests.support.folders import contents
from tests.support.worlds import random_embeddings, write_store

runner = CliRunner()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn dataset with a store of random vectors beside it; no test may change them."""
    root = tmp_path_factory.mktemp("drawn")
    draw_dataset(root / "dataset", {"dress": 60, "shirt": 40}, size=32)
    write_store(random_embeddings(Dataset(root / "dataset"), path=root / "embeddings.h5"))
    return root


def cir(*words: object) -> tuple[int, str]:
    """Runs a command; its exit code, and all that it said."""
    result = runner.invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def mined(drawn: Path, out: Path, *more: object) -> tuple[int, str]:
    files = ("--dataset", drawn / "dataset", "--embeddings", drawn / "embeddings.h5")
    return cir("mine", *files, "--out", out / "manifest.parquet", "--device", "cpu", *more)


@pytest.mark.slow
def test_the_three_commands_make_a_dataset_with_new_queries(drawn: Path, tmp_path: Path) -> None:
    pairs, worded, out = (tmp_path / name for name in ("pairs.parquet", "worded.jsonl", "more"))
    before = contents(drawn / "dataset")
    proposing = ("--propose", pairs, "--propose-count", "40", "--margin", "1")
    code, said = mined(drawn, tmp_path, *proposing)
    assert (code, "40 pairs of" in said) == (0, True)
    code, said = cir("data", "caption-pairs", drawn / "dataset", pairs, "--out", worded)
    captioned = read_pairs(worded).pairs
    assert code == 0
    assert f"{len(captioned)} of 40 pairs, with captions" in said
    assert "Left out: " in said
    code, said = cir("data", "add-queries", drawn / "dataset", worded, "--out", out)
    assert code == 0
    assert f"{len(captioned)} queries added to the training split" in said
    old, new = (Dataset(folder).queries("train") for folder in (drawn / "dataset", out))
    assert {(q.reference_id, q.captions, q.target_ids) for q in new} - {
        (q.reference_id, q.captions, q.target_ids) for q in old
    } == {(p.reference_id, p.captions, p.every_target_id) for p in captioned}
    assert contents(drawn / "dataset") == before
    assert json.loads((out / ADDED_FILE).read_text())[0]["pairs"] == str(worded)


@pytest.mark.slow
def test_proposed_pairs_are_those_of_the_library_under_the_manifests_provenance(
    drawn: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.parquet"
    assert mined(drawn, tmp_path, "--propose", pairs, "--margin", "0.5")[0] == 0
    dataset, store = Dataset(drawn / "dataset"), read_embeddings(drawn / "embeddings.h5")
    queries, cpu = dataset.queries("train"), torch.device("cpu")
    vectors = composed_queries(
        queries, [joined(q.captions) for q in queries], store, baseline("sum"), cpu
    )
    expected = propose_pairs(
        queries,
        store,
        dataset.galleries("train"),
        vectors,
        Machine(),
        count=1000,
        most_uses=2,
        margin=0.5,
        duplicate_threshold=0.99,
    )
    held = read_pairs(pairs)
    assert [pair.target_id for pair in held.pairs] == [pair.target_id for pair in expected]
    assert np.allclose([p.distance for p in held.pairs], [p.distance for p in expected])
    manifest = read_manifest(tmp_path / "manifest.parquet")
    described = json.loads(pq.read_schema(pairs).metadata[b"cir.pairs"])
    assert described == {
        "propose_count": 1000,
        "propose_uses": 2,
        "mined": manifest.metadata.to_json(),
    }


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--propose", "pairs.csv"), "--propose is pairs.csv; expected a file ending in"),
        (("--propose-count", "5"), "--propose-count is of --propose FILE: pass both or neither"),
        (("--propose-uses", "3"), "--propose-uses is of --propose FILE: pass both or neither"),
        (("--propose", "p.jsonl", "--propose-count", "0"), "--propose-count is 0; expected at"),
        (("--propose", "p.jsonl", "--split", "val"), "--propose makes queries to train on; leave"),
    ],
)
def test_options_at_odds_are_refused(
    options: tuple[str, ...], fault: str, drawn: Path, tmp_path: Path
) -> None:
    code, said = mined(drawn, tmp_path, *options)
    assert (code, fault in said) == (MISUSED, True), said
    assert not (tmp_path / "manifest.parquet").exists()


def test_what_exists_stays_unless_it_may_be_replaced(drawn: Path, tmp_path: Path) -> None:
    pairs, worded, out = tmp_path / "pairs.parquet", tmp_path / "worded.jsonl", tmp_path / "more"
    for file in (pairs, worded):
        file.write_text("mine")
    out.mkdir()
    for said in (
        mined(drawn, tmp_path, "--propose", pairs),
        cir("data", "caption-pairs", drawn / "dataset", pairs, "--out", worded),
        cir("data", "add-queries", drawn / "dataset", pairs, "--out", out),
    ):
        assert (said[0], "exists: pass --overwrite to replace it" in said[1]) == (MISUSED, True)
    assert [file.read_text() for file in (pairs, worded)] == ["mine", "mine"]


def test_pairs_that_make_nothing_end_in_one_line(drawn: Path, tmp_path: Path) -> None:
    dataset, pairs = drawn / "dataset", tmp_path / "pairs.jsonl"
    query = Dataset(dataset).queries("train")[0]
    gallery = Dataset(dataset).gallery("val", query.category)
    one = file_of(pairs, query.reference_id, gallery[0])
    code, said = cir("data", "caption-pairs", dataset, one, "--out", tmp_path / "worded.jsonl")
    assert (code, "error: none of 1 pairs of" in said) == (FAILED, True)
    code, said = cir("data", "add-queries", dataset, one, "--out", tmp_path / "more")
    assert (code, "can be used: no caption (1)" in said) == (FAILED, True)


def test_no_near_image_ends_in_one_line(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mining: list[object] = []
    monkeypatch.setattr("pipeline.mine.propose_pairs", lambda *_, **__: [])
    monkeypatch.setattr("pipeline.mine.mine_manifest", lambda *_, **__: mining.append(1))
    code, said = mined(drawn, tmp_path, "--propose", tmp_path / "pairs.jsonl")
    assert (code, "has a wrong image of its category near it: pass" in said) == (FAILED, True)
    assert not list(tmp_path.iterdir())
    assert not mining, "what is refused in the end is not mined for hours before"


def file_of(path: Path, reference: str, target: str) -> Path:
    """A file of one pair without captions."""
    path.write_text(json.dumps({"reference_id": reference, "target_id": target}) + "\n")
    return path
