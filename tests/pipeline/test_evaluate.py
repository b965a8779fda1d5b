"""The evaluate stage: a combiner, baselines, a tuned encoder, and what it refuses."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.store import read_embeddings
from cir.config import EvaluateConfig
from cir.data.dataset import Dataset
from cir.errors import CheckpointError, ConfigError, DatasetError, StoreError, UsageError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import evaluate
from cir.models.combiner import SumCombiner, build_combiner
from cir.run_settings import write_settings
from pipeline.evaluate import run
from pipeline.screen import console
from tests.support.checkpoints import HIDDEN, saved
from tests.support.worlds import random_embeddings, write_store

DIM = 16
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "embeddings.h5"
    made = random_embeddings(dataset, dim=DIM)
    return write_store(made, path)


def config(dataset: Dataset, store: Path, **changes: Any) -> EvaluateConfig:
    return EvaluateConfig(dataset=dataset.root, embeddings=store, device="cpu", **changes)


def test_a_run_is_judged_as_the_library_judges_its_best_checkpoint(
    dataset: Dataset, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings = read_embeddings(store)
    combiner = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN)
    best = saved(tmp_path / "run" / "checkpoints" / "best", combiner, embeddings.provenance)
    out = tmp_path / "figures.json"
    asked = config(dataset, store, run=tmp_path / "run", json=out, captions=("both-orders",))
    assert run(asked) == out
    found = json.loads(out.read_text())
    expected = evaluate(
        dataset.queries("val"),
        dataset.galleries("val"),
        embeddings,
        combiner,
        Protocol("val", captions="both-orders"),
        query="combiner",
        device=CPU,
    )
    figures = found["mean"] | {"headline": found["headline"]}
    assert figures == pytest.approx(expected.figures())
    assert found["checkpoint"]["sha256"] == read_checkpoint(best).sha256
    assert found["embeddings"]["sha256"] == embeddings.sha256
    printed = " ".join(capsys.readouterr().out.split())
    assert "captions in both orders, averaged" in printed
    assert all(word in printed for word in ("dress", "shirt", "mean", "chance", "epoch 3"))


@pytest.mark.parametrize("query", ["reference", "text", "sum"])
def test_baselines_need_no_run(dataset: Dataset, store: Path, query: str) -> None:
    assert run(config(dataset, store, query=query)) == store


@pytest.mark.slow
def test_the_weighted_sum_says_its_share_and_where_it_was_chosen(
    dataset: Dataset, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    run(config(dataset, store, query="weighted-sum", gallery=("full", "all"), json=out))
    printed = " ".join(capsys.readouterr().out.split())
    share = re.search(r"weighted sum: ([\d.]+) of the text, chosen on \d+ queries", printed)
    assert share is not None
    found = json.loads(out.read_text())
    assert found["text_share"] == float(share[1])
    rules = [(p["protocol"]["gallery"], p["protocol"]["reference"]) for p in found["protocols"]]
    assert rules == [("full", "kept"), ("all", "removed")]
    combiner = SumCombiner(found["text_share"])
    expected = evaluate(
        dataset.queries("val"),
        dataset.galleries("val"),
        read_embeddings(store),
        combiner,
        Protocol("val"),
        query="weighted-sum",
        device=CPU,
    )
    assert found["mean"] | {"headline": found["headline"]} == pytest.approx(expected.figures())


def test_too_few_training_queries_choose_no_weight(dataset: Dataset, tmp_path: Path) -> None:
    few = shutil.copytree(dataset.root, tmp_path / "few", symlinks=True)
    for file in (few / "captions").glob("cap.*.train.json"):
        file.write_text(json.dumps(json.loads(file.read_text())[:1]))
    store = write_store(random_embeddings(Dataset(few), dim=DIM), tmp_path / "few.h5")
    wanted = EvaluateConfig(dataset=few, embeddings=store, device="cpu", query="weighted-sum")
    with pytest.raises(DatasetError, match=r"training queries of .* too few .*`query='sum'`$"):
        run(wanted)


def test_a_run_is_judged_on_what_it_was_trained_over(
    dataset: Dataset, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    combiner = build_combiner("attention-fusion", dim=DIM, hidden=HIDDEN)
    saved(folder / "checkpoints" / "best", combiner, read_embeddings(store).provenance)
    write_settings(folder, {"dataset": str(dataset.root), "embeddings": str(store)})
    told, left_open = tmp_path / "told.json", tmp_path / "open.json"
    run(config(dataset, store, run=folder, json=told))
    run(EvaluateConfig(run=folder, json=left_open, device="cpu"))
    assert json.loads(told.read_text()) == json.loads(left_open.read_text())
    run(EvaluateConfig(run=folder / "checkpoints" / "best", query="sum", compare=True))
    other = store.with_name("none.h5")
    with pytest.raises(StoreError, match=f"{other}"):
        run(EvaluateConfig(run=folder, embeddings=other, device="cpu"))


def test_what_is_there_is_not_replaced(dataset: Dataset, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    run(config(dataset, store, query="text", json=out))
    first = out.read_bytes()
    with pytest.raises(UsageError, match="exists: pass `overwrite=True`"):
        run(config(dataset, store, query="sum", json=out))
    assert out.read_bytes() == first
    run(config(dataset, store, query="sum", json=out, overwrite=True))
    assert json.loads(out.read_text())["query"] == "sum"


def test_results_are_written_before_anything_is_printed(
    dataset: Dataset, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    for name in ("note", "table"):
        monkeypatch.setattr(console, name, closed)
    files = {"json": tmp_path / "figures.json", "per_query": tmp_path / "ranks.parquet"}
    with pytest.raises(BrokenPipeError):
        run(config(dataset, store, query="sum", **files))
    assert all(file.is_file() for file in files.values())


def test_misuse_ends_in_one_line(dataset: Dataset, store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="split test have no target"):
        run(config(dataset, store, query="sum", split="test"))
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run(config(dataset, store, run=tmp_path))
    with pytest.raises(CheckpointError, match="no checkpoint at nope"):
        run(EvaluateConfig(run=Path("nope")))  # there is no dataset at the usual place either
    with pytest.raises(
        CheckpointError, match=r"is an embedding store, .* as `embeddings`, its data"
    ):
        run(config(dataset, store, run=store))
    with pytest.raises(ConfigError, match="takes a run folder only"):
        config(dataset, store, run=tmp_path, query="sum")


def test_a_checkpoint_of_another_encoder_is_refused(
    dataset: Dataset, store: Path, tmp_path: Path
) -> None:
    other = dataclasses.replace(read_embeddings(store).provenance, weights_sha256="f" * 64)
    folder = saved(tmp_path / "best", SumCombiner(), other, name="sum")
    with pytest.raises(CheckpointError, match="come from different encoders: weights_sha256"):
        run(config(dataset, store, run=folder))
