"""What no command destroys: every output of every command, against everything in its way."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cir import config
from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.disk import locks
from cir.disk.hidden import lock_of
from cir.disk.locks import held
from pipeline.cli import app
from pipeline.command.faults import FAILED, MISUSED
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings, small_dataset, write_store

WORLD = "--dataset world/dataset --embeddings world/e.h5"
COMMANDS = {
    ("EmbedConfig", "out"): "embed world/dataset --model cir-tiny --out {}",
    ("MineConfig", "out"): f"mine {WORLD} --out {{}}",
    ("MineConfig", "propose"): f"mine {WORLD} --out new --propose {{}}.jsonl",
    ("ExportConfig", "out"): "export world/m.parquet --dataset world/dataset --out {}.jsonl",
    ("InspectConfig", "html"): "inspect world/m.parquet --dataset world/dataset --html {}",
    ("SearchConfig", "html"): "search --store world/e.h5 --text red --html {}",
    ("TrainConfig", "out"): f"train --manifest world/m.parquet {WORLD} --out {{}}",
    ("EvaluateConfig", "json"): f"evaluate --query sum {WORLD} --json {{}}",
    ("EvaluateConfig", "per_query"): f"evaluate --query sum {WORLD} --per-query {{}}",
    ("EvaluateConfig", "submission"): f"evaluate --query sum {WORLD} --submission {{}}",
    ("ReportConfig", "out"): f"report world/run {WORLD} --out {{}}",
    ("DemoConfig", "out"): "demo --images 300 --out {}",
    ("PretrainConfig", "out"): "pretrain --catalog world/dataset --out {}",
    ("CheckConfig", "json"): "data check world/dataset --json {}",
    ("CheckConfig", "without_missing"): "data check world/dataset --without-missing {}",
    ("FolderConfig", "out"): "data from-folder world/dataset/images --out {}",
    ("CatalogConfig", "out"): (
        "data from-catalog --images world/dataset/images --attributes world/a.csv --out {}"
    ),
    ("SynthConfig", "out"): "data synth --dress 20 --shirt 20 --toptee 20 --out {}",
    ("CaptionPairsConfig", "out"): (
        "data caption-pairs world/dataset world/p.jsonl --out {}.jsonl"
    ),
    ("AddQueriesConfig", "out"): "data add-queries world/dataset world/p.jsonl --out {}",
    ("MergeConfig", "out"): (
        "data merge world/dataset world/dataset --prefixes a --prefixes b --out {}"
    ),
}
"""Every command that writes, by its configuration and the field of the output."""


def test_every_output_of_every_command_is_in_the_table() -> None:
    written = {
        (kind.__name__, name)
        for kind in kinds(config.Config)
        for name, item in kind.__dataclass_fields__.items()
        if item.metadata["writes"]
    }
    assert written == COMMANDS.keys()


def kinds(base: type) -> list[type]:
    return [kind for each in base.__subclasses__() for kind in (each, *kinds(each))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every command, which no test may change, and what is not cir's."""
    made = tmp_path_factory.mktemp("claims")
    world = made / "world"
    dataset = small_dataset(world / "dataset", categories=("dress",), images=6, queries=2)
    store = read_embeddings(write_store(random_embeddings(dataset), world / "e.h5"))
    write_manifest(random_manifest(dataset, store), world / "m.parquet")
    (world / "a.csv").write_text("id,subCategory,productDisplayName,articleType\n1,x,A,B\n")
    (world / "p.jsonl").write_text(json.dumps({"reference_id": "a", "target_id": "b"}))
    (world / "run").mkdir()
    (world / "run/config.json").write_text(json.dumps({"name": "somebody's"}))
    return made


@pytest.fixture(autouse=True)
def nothing_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs each test in the folder; all that was there is there afterwards, and nothing else."""
    monkeypatch.chdir(folder)
    before = everything(folder)
    yield
    assert everything(folder) == before


def everything(folder: Path) -> dict[str, object]:
    return {str(path.relative_to(folder)): what_is(path) for path in sorted(folder.rglob("*"))}


def what_is(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    return path.read_bytes() if path.is_file() else stat.S_IFMT(path.lstat().st_mode)


def cir(line: str) -> Result:
    return CliRunner().invoke(app, line.split())


def assert_refused(done: Result, *words: str) -> None:
    assert done.exit_code in (FAILED, MISUSED), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert any(word in line for word in words), line


def foreign_file(path: Path) -> None:
    path.write_text('{"years": "of work"}\n')


def foreign_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def looks_like_a_run(path: Path) -> None:
    foreign_folder(path)
    (path / "config.json").write_text(json.dumps({"batch_size": 3}))


def looks_like_a_dataset(path: Path) -> None:
    (path / "images").mkdir(parents=True)
    (path / "images/photo.jpg").write_bytes(b"a photo")
    (path / "catalog.json").write_text("[]")


def link_to_a_file(path: Path) -> None:
    foreign_file(path.with_name("behind"))
    path.symlink_to("behind")


def link_to_a_folder(path: Path) -> None:
    foreign_folder(path.with_name("behind"))
    path.symlink_to("behind")


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


IN_THE_WAY: dict[Callable[[Path], None], tuple[str, ...]] = {
    foreign_file: ("does not read as", "it is a file, expected a folder"),
    foreign_folder: ("does not read as", "it is a folder, expected a file"),
    looks_like_a_run: ("does not read as", "it is a folder, expected a file"),
    looks_like_a_dataset: ("does not read as", "it is a folder, expected a file"),
    link_to_a_file: ("does not read as", "it is a file, expected a folder"),
    link_to_a_folder: ("does not read as", "it is a folder, expected a file"),
    link_to_a_device: ("it is no regular file",),
    pipe: ("it is no regular file",),
    link_in_a_circle: ("symbolic links",),
}
commands = pytest.mark.parametrize("command", COMMANDS.values(), ids=map(" ".join, COMMANDS))


@pytest.fixture
def way(folder: Path) -> Iterator[Path]:
    """A folder that a test may fill; it is removed after the test."""
    made = folder / "way"
    made.mkdir()
    yield made
    for path in sorted(made.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    made.rmdir()


def out_of(command: str, path: Path) -> Path:
    """The path that a command is to write, where it is given `path`."""
    return path.with_name(path.name + command.partition("{}")[2].partition(" ")[0])


@commands
@pytest.mark.parametrize("put", IN_THE_WAY, ids=lambda put: put.__name__)
def test_what_is_not_cirs_is_never_replaced(
    command: str, put: Callable[[Path], None], way: Path
) -> None:
    out = out_of(command, way / "out")
    put(out)
    before = everything(way)
    assert_refused(cir(f"{command.format('way/out')} --overwrite"), *IN_THE_WAY[put])
    assert everything(way) == before


@commands
def test_no_output_is_an_input_or_holds_one(command: str, folder: Path) -> None:
    inputs = [word for word in command.split() if word.startswith("world/")]
    suffix = command.partition("{}")[2].partition(" ")[0]
    for value in (each for each in (*inputs, "world") if each.endswith(suffix)):
        done = cir(f"{command.format(value.removesuffix(suffix))} --overwrite")
        is_input = ("the input ", "expected a folder", "expected a file", "does not read as")
        assert_refused(done, *is_input)


@commands
def test_an_input_behind_a_link_is_an_input(command: str, way: Path) -> None:
    inputs = [word for word in command.split() if word.startswith("world/")]
    if not inputs:
        pytest.skip("the command has no input")
    out = out_of(command, way / "out")
    out.symlink_to(Path(inputs[0]).absolute())
    assert_refused(cir(f"{command.format('way/out')} --overwrite"), "which is the input ")


@commands
def test_one_that_another_process_writes_is_left_alone(
    command: str, way: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = out_of(command, way / "out")
    with held(out), monkeypatch.context() as elsewhere:
        elsewhere.setattr(locks, "_held", {})  # as another process sees it
        assert_refused(cir(f"{command.format('way/out')} --overwrite"), "is being written by")
        assert lock_of(out).exists()
    assert not list(way.iterdir())


@commands
@pytest.mark.parametrize("value", ["/proc/x", "world/a.csv/x"])
def test_whether_it_can_be_written_is_known_before_the_work(
    command: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "__init__", lambda *_: pytest.fail("the work had begun"))
    assert_refused(cir(command.format(value)), "cannot write")


FOLDERS = {
    *(("TrainConfig", "out"), ("EvaluateConfig", "submission"), ("CheckConfig", "without_missing")),
    *(
        (kind, "out")
        for kind in (
            "FolderConfig",
            "CatalogConfig",
            "SynthConfig",
            "AddQueriesConfig",
            "MergeConfig",
        )
    ),
}
GOES_ON = {("DemoConfig", "out"), ("EmbedConfig", "out")}


@pytest.mark.parametrize("output", sorted(COMMANDS.keys() - GOES_ON), ids=" ".join)
def test_one_that_exists_stays_unless_asked_to_replace_it(
    output: tuple[str, str], way: Path
) -> None:
    out = out_of(COMMANDS[output], way / "out")
    out.mkdir() if output in FOLDERS else out.write_text("")
    assert_refused(cir(COMMANDS[output].format("way/out")), "exists: pass --overwrite")
