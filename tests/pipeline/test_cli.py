"""The command line: help, exit codes, one line a failure, and the stages one after the other."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cir.data.dataset import Dataset
from cir.errors import StoppedError
from pipeline.cli import app
from pipeline.command.faults import FAILED, INTERRUPTED, MISUSED

COMMANDS = (
    ["embed"],
    ["mine"],
    ["export"],
    ["inspect"],
    ["train"],
    ["evaluate"],
    ["report"],
    ["search"],
    ["serve"],
    ["demo"],
    ["pretrain"],
    ["data", "check"],
    ["data", "from-folder"],
    ["data", "from-catalog"],
    ["data", "synth"],
    ["data", "caption-pairs"],
    ["data", "add-queries"],
    ["data", "merge"],
    ["index", "push"],
)
runner = CliRunner()


HELP = """
import contextlib, io, json, sys
from pipeline.cli import app
shown = {}
for words in json.loads(sys.argv[1]):
    sys.argv = ["cir", *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            app()
        except SystemExit as end:
            code = end.code
    slow = {"torch", "numpy", "faiss", "open_clip", "h5py", "pyarrow", "fastapi"}
    heavy = slow & set(sys.modules)
    shown[" ".join(words)] = [code, sorted(heavy), out.getvalue()]
print(json.dumps(shown))
"""
"""Shows the help of many commands in a process that has imported nothing else."""
HELPED = [[], ["data"], ["index"], *COMMANDS]


@pytest.fixture(scope="module")
def helps() -> dict[str, list[Any]]:
    command = [sys.executable, "-c", HELP, json.dumps(HELPED)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_brackets_of_a_help_are_shown(helps: dict[str, list[Any]]) -> None:
    assert "cir[wandb]" in " ".join(helps["train"][2].replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "option", "word"),
    [
        ("data from-folder", "--out", "FOLDER"),
        ("data check", "--without-missing", "FOLDER"),
        ("data check", "--json", "FILE"),
        ("data check", "--embeddings", "FILE"),
        ("data merge", "--out", "PATH"),
        ("demo", "--out", "FOLDER"),
        ("embed", "--out", "FILE"),
        ("evaluate", "--dataset", "FOLDER"),
        ("evaluate", "--submission", "FOLDER"),
        ("evaluate", "--per-query", "FILE"),
        ("index push", "--store", "PATH"),
        ("mine", "--checkpoint", "FOLDER"),
        ("search", "--store", "PATH"),
        ("search", "--html", "FILE"),
        ("train", "--out", "FOLDER"),
        ("train", "--weights", "PATH"),
    ],
)
def test_help_says_what_a_path_is_of(
    helps: dict[str, list[Any]], command: str, option: str, word: str
) -> None:
    _, _, text = helps[command]
    lines = (line.split() for line in text.splitlines() if f" {option} " in line)
    assert any(word in line[: line.index(option) + 3] for line in lines)


@pytest.mark.parametrize("command", HELPED, ids=" ".join)
def test_help_reads_and_imports_no_torch(command: list[str], helps: dict[str, list[Any]]) -> None:
    code, heavy, printed = helps[" ".join(command)]
    assert (code, heavy) == (0, [])
    assert f"Usage: cir {' '.join(command)}".strip() in printed


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ["mine", "--strategy", "harder"],
            MISUSED,
            "--strategy is 'harder'; expected one of random",
        ),
        (["mine", "--margin", "3", "--num-negatives", "0"], MISUSED, "--num-negatives is 0"),
        (["embed", "nowhere"], FAILED, "no dataset folder at nowhere"),
        (["data", "check", "nowhere"], FAILED, "no dataset folder at nowhere"),
        (["mine", "--dataset", "nowhere"], FAILED, "nowhere"),
        (["evaluate", "--query", "sum", "--dataset", "nowhere"], FAILED, "nowhere"),
        (["report", "nowhere"], MISUSED, "nowhere holds no config.json"),
        (["train", "--dataset", "nowhere"], FAILED, "no dataset folder at nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_failure_is_one_line_and_a_code(
    arguments: list[str], code: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir()), "a failure left files behind"


def test_a_run_stopped_by_a_signal_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise StoppedError(signal.SIGINT, "stopped by SIGINT")

    monkeypatch.setattr("pipeline.train.run", stopped)
    done = runner.invoke(app, ["train"])
    assert done.exit_code == INTERRUPTED
    assert done.stderr == "error: stopped by SIGINT: go on with --resume, where a run has begun\n"


def test_a_demo_that_is_stopped_names_no_option_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_: object) -> None:
        raise StoppedError(signal.SIGTERM, "stopped by SIGTERM")

    monkeypatch.setattr("pipeline.demo.run", stopped)
    done = runner.invoke(app, ["demo"])
    assert done.exit_code == 128 + signal.SIGTERM
    assert done.stderr == (
        "error: stopped by SIGTERM: the same command, without --overwrite, goes on where it was\n"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_stages_run_one_after_the_other_as_they_stand(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashioniq").symlink_to(dataset.root)
    for line in (
        "data check --json check.json --workers 1",
        "embed --model cir-tiny --workers 0",
        "mine --strategy semi-hard",
        "export --dataset data/fashioniq",
        "inspect data/manifest.parquet --dataset data/fashioniq --html inspect.html",
        "train --manifest data/manifest.parquet --epochs 2 --batch-size 8",
        "report runs/default --out report.html",
        "evaluate --json result.json",
        "evaluate --query sum --gallery val --reference removed --captions both-orders",
        "mine --query combiner --checkpoint runs/default/checkpoints/best --out again.parquet",
    ):
        done = runner.invoke(app, line.split())
        assert done.exit_code == 0, f"cir {line}\n{done.output}\n{done.exception!r}"
    assert json.loads(Path("check.json").read_text())["complete"]
    assert {"R@10", "R@50"} <= set(json.loads(Path("result.json").read_text())["mean"])
    refused = runner.invoke(app, ["mine"])
    assert refused.exit_code == MISUSED
    assert "data/manifest.parquet exists: pass --overwrite" in refused.stderr


@pytest.mark.parametrize(("rank", "code", "told"), [("0", MISUSED, 1), ("1", 0, 0)])
def test_work_for_one_is_refused_to_launched_processes(
    rank: str, code: int, told: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = {"RANK": rank, "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipeline.command.leaving.end_at_once", sys.exit)
    done = runner.invoke(app, ["data", "synth", "--out", str(tmp_path / "made")])
    assert done.exit_code == code  # else a launcher ends the first before it has told
    line = "error: this is work for one process, and a launcher started 4: start it without"
    assert [said[: len(line)] for said in done.stderr.splitlines()] == [line] * told
    assert not any(tmp_path.iterdir())
