"""What `cir evaluate` writes beside its table, and CIRR's form through every stage."""

import json
import re
from pathlib import Path

import pandas
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cir.config import EvaluateConfig
from cir.data.dataset import Dataset
from cir.disk.recognition import MARKER
from cir.errors import ConfigError
from cir.models.combiner import build_combiner
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from tests.support.checkpoints import HIDDEN, saved
from tests.support.cirr import cirr_dataset
from tests.support.worlds import random_embeddings, write_store

runner = CliRunner()


@pytest.fixture
def world(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The options that name the dataset, beside its store and two runs, `a` and `b`."""
    monkeypatch.chdir(tmp_path)
    made = random_embeddings(dataset)
    write_store(made, Path("store.h5"))
    for name in ("a", "b"):
        saved(
            Path(name), build_combiner("attention-fusion", dim=16, hidden=HIDDEN), made.provenance
        )
    return f"--dataset {dataset.root} --embeddings store.h5"


def cir(line: str, code: int = 0) -> str:
    done = runner.invoke(app, line.split(), env={"COLUMNS": "120"})
    assert done.exit_code == code, f"cir {line}\n{done.output}\n{done.exception!r}"
    return " ".join((done.stdout if code == 0 else done.stderr).split())


@pytest.mark.slow
def test_protocols_are_reported_in_one_call(world: str) -> None:
    shown = cir(
        f"evaluate --query sum {world} --gallery val --gallery full --captions joined "
        f"--captions both-orders --json some.json"
    )
    found = json.loads(Path("some.json").read_text())
    asked = [(p["protocol"]["gallery"], p["protocol"]["captions"]) for p in found["protocols"]]
    assert asked[0] == ("full", "joined"), "the standard protocol is first"
    assert len(set(asked)) == 4
    assert found["mean"] == found["protocols"][0]["mean"]
    assert "means over categories under each protocol" in shown
    cir(f"evaluate --query sum {world} --all-protocols --json all.json")
    every = json.loads(Path("all.json").read_text())["protocols"]
    galleries = [protocol["protocol"]["gallery"] for protocol in every]
    assert sorted(galleries) == ["all"] * 2 + ["full"] * 4 + ["val"] * 4


def test_rows_are_read_by_pandas(world: str) -> None:
    cir(f"evaluate a {world} --per-query ranks.parquet --json figures.json")
    rows, figures = (
        pandas.read_parquet("ranks.parquet"),
        json.loads(Path("figures.json").read_text()),
    )
    shares = rows.groupby("category")["rank"].apply(lambda ranks: 100 * (ranks <= 10).mean())
    for category, share in shares.items():
        assert share == pytest.approx(figures["categories"][category]["recall"]["R@10"])
    told = json.loads(pq.read_schema("ranks.parquet").metadata[b"cir.evaluation"])
    assert told["protocol"] == figures["protocol"]
    assert told["checkpoint"]["sha256"] == figures["checkpoint"]["sha256"]
    assert told["embeddings"]["sha256"] == figures["embeddings"]["sha256"]


@pytest.mark.slow
def test_two_runs_are_compared(world: str) -> None:
    shown = cir(f"evaluate a b {world} --compare --resamples 200 --json moved.json")
    assert "from a (epoch 3) to b (epoch 3)" in shown
    found = json.loads(Path("moved.json").read_text())
    rows = found["comparisons"][0]["rows"]
    assert {row["category"] for row in rows} == {"dress", "shirt", "mean"}
    assert found["after"]["checkpoint"]["path"] == "b"
    assert "from a (epoch 3) to a (epoch 3)" in cir(f"evaluate a a {world} --resamples 200")
    assert "from sum to a (epoch 3)" in cir(
        f"evaluate a {world} --query sum --compare --resamples 200"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"compare": True}, "`compare` takes a second run, or a baseline"),
        ({"run": Path("a"), "other": Path("b"), "query": "sum"}, "take no `query='sum'`"),
        ({"other": Path("b"), "per_query": Path("x")}, "`per_query` is of one run"),
        ({"gallery": ("full", "half")}, "`gallery` is 'half'; expected one of full, val"),
        ({"all_protocols": True, "gallery": ("val",)}, "`all_protocols` takes no `gallery`"),
        ({"submission": Path("x"), "gallery": ("val",)}, "`submission` ranks the full gallery"),
        ({"resamples": 3}, "`resamples` is 3; expected at least 100"),
    ],
)
def test_options_at_odds_are_told(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        EvaluateConfig(**options)  # type: ignore[arg-type]


def test_a_test_split_is_ranked_for_its_server_alone(world: str) -> None:
    told = cir(f"evaluate a {world} --split test", MISUSED)
    assert "have no target to be judged by" in told
    assert "--submission FOLDER" in told
    told = cir(f"evaluate a {world} --split test --submission sent --json f.json", MISUSED)
    assert "--submission FOLDER alone" in told
    assert not Path("sent").exists()
    cir(f"evaluate a {world} --split test --submission sent")
    assert sorted(file.name for file in Path("sent").iterdir()) == [
        MARKER,
        "dress.predict.json",
        "shirt.predict.json",
    ]
    assert "sent exists: pass --overwrite" in cir(
        f"evaluate a {world} --split test --submission sent", MISUSED
    )


def test_what_does_not_match_is_one_line(world: str) -> None:
    other = random_embeddings(Dataset(Path(world.split()[1])), dim=8)
    saved(Path("narrow"), build_combiner("attention-fusion", dim=8, hidden=8), other.provenance)
    assert "embed_dim 8 here and 16 there" in cir(f"evaluate narrow {world}", FAILED)
    stranger = cirr_dataset(Path("cirr"), images=8, queries=2).root
    told = cir(f"evaluate --query sum --dataset {stranger} --embeddings store.h5", FAILED)
    assert "it was made from another dataset" in told


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_cirr_goes_through_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cirr_dataset(Path("cirr"), images=56, queries=24)
    assert "in the form of CIRR" in cir("data check cirr --workers 1")
    files = "--dataset cirr --embeddings e.h5"
    cir("embed cirr --model cir-tiny --workers 0 --out e.h5")
    cir(f"mine {files} --out m.parquet")
    cir(f"train {files} --manifest m.parquet --epochs 1 --batch-size 8 --out run")
    shown = cir(f"evaluate run {files} --json figures.json --per-query ranks.parquet")
    # One caption a query has no order, one category no mean, and no figure is cut.
    assert "split val, full gallery, reference removed ┏" in shown
    assert not re.search(r"│ mean|…|captions", shown)
    figures = json.loads(Path("figures.json").read_text())
    assert {"R@5", "Rs@1", "Rs@3"} <= set(figures["mean"])
    ranks = pandas.read_parquet("ranks.parquet")
    assert 100 * (ranks["subset_rank"] <= 1).mean() == pytest.approx(figures["mean"]["Rs@1"])
    cir(f"evaluate run {files} --split test --submission sent")
    assert len(list(Path("sent").glob("[!.]*"))) == 2
