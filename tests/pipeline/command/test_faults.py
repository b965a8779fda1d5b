"""How commands end: inputs, outputs and machines that are wrong, each one line and a code."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations, product
from pathlib import Path

import h5py
import pytest
from _pytest.mark import ParameterSet
from typer.testing import CliRunner, Result

from cir import config
from cir.data.dataset import Dataset
from cir.errors import UsageError
from pipeline.cli import app
from pipeline.command.faults import BUG, FAILED, INTERRUPTED, MISUSED, PIPE_CLOSED

LONG = "x" * 300
COLUMNS = "id,subCategory,productDisplayName,articleType,gender,baseColour\n"
WORLD = "--dataset dataset --embeddings e.h5"
INPUTS = {
    "embed DATASET": "embed {} --model cir-tiny --out new",
    "embed --weights": "embed dataset --model cir-tiny --weights {} --out new",
    "mine --dataset": "mine --dataset {} --embeddings e.h5 --out new",
    "mine --embeddings": "mine --dataset dataset --embeddings {} --out new",
    "mine --checkpoint": f"mine {WORLD} --query combiner --checkpoint {{}} --out new",
    "export MANIFEST": "export {} --out new.jsonl",
    "export --dataset": "export m.parquet --dataset {} --out new.jsonl",
    "inspect MANIFEST": "inspect {}",
    "inspect OTHER": "inspect m.parquet {}",
    "inspect --dataset": "inspect m.parquet --dataset {}",
    "train --manifest": f"train --manifest {{}} {WORLD} --out new",
    "train --dataset": "train --manifest m.parquet --dataset {} --embeddings e.h5 --out new",
    "train --embeddings": "train --manifest m.parquet --dataset dataset --embeddings {} --out new",
    "evaluate RUN": f"evaluate {{}} {WORLD}",
    "evaluate --dataset": "evaluate --query sum --dataset {} --embeddings e.h5",
    "evaluate --embeddings": "evaluate --query sum --dataset dataset --embeddings {}",
    "report RUN": "report {}",
    "pretrain --catalog": "pretrain --catalog {} --out new",
    "check DATASET": "data check {} --workers 1",
    "caption-pairs DATASET": "data caption-pairs {} p.jsonl --out new.jsonl",
    "caption-pairs PAIRS": "data caption-pairs dataset {} --out new.jsonl",
    "add-queries DATASET": "data add-queries {} p.jsonl --out new",
    "add-queries PAIRS": "data add-queries dataset {} --out new",
    "merge DATASETS": "data merge {} dataset --prefixes a --prefixes b --out new",
    "from-folder PHOTOS": "data from-folder {}/images --out new",
    "from-catalog --images": "data from-catalog --images {} --attributes a.csv --out new",
    "from-catalog --attributes": "data from-catalog --images dataset --attributes {} --out new",
}
WRONG_INPUTS = {
    "too long": LONG,
    "nameless": ".",
    "a loop of links": "loop",
    "a folder": "empty",
    "a file": "file.txt",
    "below a file": "file.txt/x",
    "missing": "nowhere",
    "no UTF-8": os.fsdecode(b"\xff"),
}
OUTPUTS = {
    "embed --out": "embed dataset --model cir-tiny --workers 0 --out {}",
    "mine --out": f"mine {WORLD} --out {{}}",
    "mine --propose": f"mine {WORLD} --out new --propose {{}}.jsonl",
    "export --out": "export m.parquet --out {}.jsonl",
    "inspect --html": "inspect m.parquet --html {}",
    "train --out": f"train --manifest m.parquet {WORLD} --epochs 1 --batch-size 8 --out {{}}",
    "evaluate --json": f"evaluate --query sum {WORLD} --json {{}}",
    "evaluate --per-query": f"evaluate --query sum {WORLD} --per-query {{}}",
    "evaluate --submission": f"evaluate --query sum {WORLD} --submission {{}}",
    "check --json": "data check dataset --workers 1 --json {}",
    "check --without-missing": "data check dataset --workers 1 --without-missing {}",
    "add-queries --out": "data add-queries dataset p.jsonl --out {}",
    "from-folder --out": "data from-folder dataset --workers 1 --out {}",
    "synth --out": "data synth --dress 20 --shirt 20 --toptee 20 --size 32 --workers 1 --out {}",
    "demo --out": "demo --images 300 --epochs 1 --out {}",
}
WRONG_OUTPUTS = {
    "too long": LONG,
    "a loop of links": "loop/x",
    "below a file": "file.txt/x",
    "not to be written to": "/proc/x",
}
QUICK = {"inspect MANIFEST", "export MANIFEST", "report RUN", "check DATASET", "export --out"}
"""Commands that end at once."""


def sampled(commands: dict[str, str], values: dict[str, str]) -> list[ParameterSet]:
    """Every command with every value; all are slow but each of the quick ones with one value."""
    quick = {(name, list(values)[row % len(values)]) for row, name in enumerate(commands)}
    return [
        pytest.param(
            command,
            value,
            id=f"{name}-{kind}",
            marks=() if name in QUICK and (name, kind) in quick else pytest.mark.slow,
        )
        for (name, command), (kind, value) in product(commands.items(), values.items())
    ]


@pytest.fixture(scope="module")
def folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, its store and manifest, and what is none."""
    made = tmp_path_factory.mktemp("faults")
    (made / "dataset").symlink_to(dataset.root)
    (made / "loop").symlink_to("loop")
    (made / "file.txt").write_text("hello")
    (made / "a.csv").write_text(COLUMNS + "1,x,A Shirt,Shirts,Men,Red\n")
    (made / "empty").mkdir()
    (made / "p.jsonl").write_text(json.dumps(new_pair(dataset)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        assert cir("embed dataset --model cir-tiny --workers 0 --out e.h5").exit_code == 0
        assert cir(f"mine {WORLD} --out m.parquet").exit_code == 0
    return made


def new_pair(dataset: Dataset) -> dict[str, object]:
    """Two photos of one category that no query has, with a caption."""
    category, ids = next(iter(dataset.galleries("train").items()))
    known = {(q.reference_id, q.target_id) for q in dataset.queries("train")}
    reference, target = next(p for p in permutations(ids, 2) if p not in known)
    return {
        "reference_id": reference,
        "target_id": target,
        "category": category,
        "captions": ["is red"],
    }


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs each test in the folder, which it leaves as it was."""
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    yield
    assert sorted(folder.iterdir()) == before


def cir(line: str, **environment: str) -> Result:
    return CliRunner().invoke(app, line.split(), env=environment)


def assert_one_line(done: Result, *codes: int) -> str:
    assert done.exit_code in codes, done.output
    assert "Traceback" not in done.output
    *progress, line = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not any("error" in each for each in progress)
    return line


@pytest.mark.parametrize(("command", "value"), sampled(INPUTS, WRONG_INPUTS))
def test_a_wrong_input_is_one_line_with_its_path(command: str, value: str) -> None:
    line = assert_one_line(cir(command.format(value)), FAILED, MISUSED)
    shown = value.encode("utf-8", "backslashreplace").decode()
    assert shown in line or str(Path.cwd()) in line


@pytest.mark.slow
@pytest.mark.parametrize(("command", "value"), sampled(OUTPUTS, WRONG_OUTPUTS))
def test_a_wrong_output_is_one_line_with_its_path(command: str, value: str) -> None:
    done = cir(command.format(value))
    line = assert_one_line(done, FAILED, MISUSED)
    # Embedding first meets the folder beside its output, where finished parts wait.
    assert value in line or (command.startswith("embed") and f"{Path(value).parent}/" in line)


@pytest.mark.parametrize("value", [".", "/", ".."])
@pytest.mark.parametrize(
    "command",
    [
        f"mine {WORLD} --overwrite --out {{}}",
        f"evaluate --query sum {WORLD} --overwrite --submission {{}}",
        "data check dataset --workers 1 --json {}",
    ],
)
def test_an_output_without_a_name_is_refused(command: str, value: str) -> None:
    done = cir(command.format(value))
    assert done.exit_code == MISUSED
    assert f"cannot write {value}: expected a path that ends in a name" in done.stderr


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (13, "Permission denied (change its permissions, or choose another path)"),
        (30, "Read-only file system (choose a path on a file system that can be written to)"),
        (28, "No space left on device (free some space, or choose a path on another disk)"),
        (11, "Resource temporarily unavailable (another process holds the file: wait until it"),
    ],
)
@pytest.mark.parametrize("kind", ["read", "write"])
def test_what_the_system_refuses_says_what_to_do(
    kind: str, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "there")

    name = "cir.artefacts.store.h5py.File" if kind == "read" else "cir.disk.files.os.replace"
    monkeypatch.setattr(name, refuse)
    assert said in assert_one_line(cir(f"mine {WORLD} --out new"), FAILED)


@pytest.mark.slow
def test_a_store_that_another_process_writes_says_so() -> None:
    script = (
        "import h5py, sys\n"
        "with h5py.File('e.h5', 'r+'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        line = assert_one_line(cir(f"mine {WORLD} --out new"), FAILED)
    assert "e.h5 is open for writing in another process: wait until that ends" in line
    with h5py.File("e.h5"):
        pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), FAILED, "out of memory: free some"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), FAILED, "out of memory (Def"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted; what was there before is as it was"),
        (OSError("odd"), FAILED, "error: odd"),
        (PermissionError(13, "Permission denied", "there"), FAILED, "there: Permission denied"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_a_stage_raises_is_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.inspect.run", lambda _: raised(error))
    assert said in assert_one_line(cir("inspect m.parquet"), code)


def raised(error: BaseException) -> None:
    raise error


def test_a_bug_says_so_and_where_its_traceback_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inspect.run", lambda _: raised(ZeroDivisionError("by zero")))
    monkeypatch.setattr(sys, "argv", ["/bin/cir", "inspect", "m.parquet"])
    line = assert_one_line(cir("inspect m.parquet", CIR_TRACEBACK=""), BUG)
    assert re.search(r"a bug in cir [\d.]+, not in your input \(ZeroDivisionError: by zero\)", line)
    assert "please report it" in line
    assert "cir inspect m.parquet" in line
    written = re.search(r"the traceback is in (\S+);", line)
    assert written is not None
    kept = Path(written[1])
    assert "Traceback (most recent call last)" in kept.read_text()
    assert "/bin/cir inspect m.parquet" in kept.read_text()
    kept.unlink()
    shown = cir("inspect m.parquet", CIR_TRACEBACK="1")
    assert shown.exit_code == BUG
    assert "Traceback (most recent call last)" in shown.stderr
    assert "the traceback is above" in shown.stderr


def slow(*values: object) -> ParameterSet:
    return pytest.param(*values, marks=pytest.mark.slow)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which `cir` is the program."""
    program = f'cir() {{ {sys.executable} -m pipeline "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program}; {line}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("cir --help | true", PIPE_CLOSED, ""),
        ("cir --version > /dev/full", FAILED, "error: standard output: No space left"),
        slow("cir inspect m.parquet | true", PIPE_CLOSED, ""),
        slow("cir inspect m.parquet > /dev/full", FAILED, "error: standard output: No space left"),
        slow("cir inspect m.parquet >&-", 0, ""),
        slow("cir search --store e.h5 --text red >&-", 0, ""),
        slow("cir search --store e.h5 --text red --json >&-", 0, ""),
        slow("PYTHONIOENCODING=ascii cir inspect m.parquet", 0, ""),
        slow("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 cir inspect m.parquet", 0, ""),
        slow(
            "PYTHONIOENCODING=ascii cir inspect größe", FAILED, r"error: no manifest at gr\xf6\xdfe"
        ),
    ],
    ids=[
        *("help closed", "help full", "closed pipe", "full disk"),
        *("no output", "no results", "no JSON", "ascii", "C locale", "ascii path"),
    ],
)
def test_a_terminal_or_pipe_of_any_kind(line: str, code: int, said: str) -> None:
    done = shell(line)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said) if said else done.stderr == ""
    assert "Traceback" not in done.stderr


STAGES = {
    "embed": config.EmbedConfig,
    "mine": config.MineConfig,
    "export": config.ExportConfig,
    "inspect": config.InspectConfig,
    "train": config.TrainConfig,
    "evaluate": config.EvaluateConfig,
    "report": config.ReportConfig,
    "demo": config.DemoConfig,
    "pretrain": config.PretrainConfig,
    "check": config.CheckConfig,
    "caption_pairs": config.CaptionPairsConfig,
    "add_queries": config.AddQueriesConfig,
    "merge": config.MergeConfig,
    "push": config.PushConfig,
    "folder": config.FolderConfig,
    "catalog": config.CatalogConfig,
    "synth": config.SynthConfig,
}


class OtherConfig(config.Config):
    """The configuration of no stage."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("given", [None, {}, OtherConfig(), OtherConfig], ids=repr)
def test_a_stage_takes_its_own_configuration_alone(stage: str, given: object) -> None:
    run = importlib.import_module(f"pipeline.{stage}").run
    with pytest.raises(UsageError, match=rf"`config` is .*; expected an? {STAGES[stage].__name__}"):
        inspect.unwrap(run)(given)
