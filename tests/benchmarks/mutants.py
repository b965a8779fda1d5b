"""Do the tests of a room notice when its code is wrong?

    pip install --constraint constraints.txt -e '.[dev,bench]'
    python -m tests.benchmarks.mutants cir/models tests/models
    python -m tests.benchmarks.mutants cir/evaluation tests/evaluation --sample 60 --seed 1

Changes one operator, number or branch of the room at a time, as cosmic-ray would, and runs the
tests named, until one fails. The sample is drawn by its seed: of every file in proportion to what
can be changed in it, at least one; one a line, of all kinds of change in turn. Annotations stay as
they are. Works in a copy of the project; what the room imports from elsewhere is loaded once, and
each mutant runs in a process forked from there. Prints a line a mutant, and each survivor's change:
either no behaviour depends on it, or a test is missing.
"""

import argparse
import ast
import contextlib
import difflib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parents[2]
COPIED = ("cir", "pipeline", "tests", "docs", "data/README.md", "README.md", "pyproject.toml")
LOADED = (
    *("torch", "torchvision", "open_clip", "accelerate", "numba", "faiss", "h5py", "jaxtyping"),
    *("beartype", "pandas", "pyarrow.parquet", "matplotlib.pyplot", "typer.testing"),
)
"""Packages of others that take long to import."""
OPTIONS = (
    "-q",
    "-x",
    "--tb=no",
    "-pno:cacheprovider",
    "-Wignore::pytest.PytestAssertRewriteWarning",
)

Place = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A changed file, by its path from the root of the project."""

    path: str
    line: int
    operator: str
    source: str
    change: str


def mutants_drawn(room: Path, count: int, seed: int) -> list[Mutant]:
    """About `count` mutants of the files below `room`, at least one of every file that has any."""
    rng = random.Random(seed)
    changes = {path: changes_of(path) for path in sorted(room.rglob("*.py"))}
    total = sum(map(len, changes.values()))
    return [
        mutant
        for path, places in changes.items()
        for mutant in _of_file(path, places, max(1, round(count * len(places) / total)), rng)
    ]


def changes_of(path: Path) -> list[tuple[str, int, int]]:
    """What can be changed in a file: the operator, which of its occurrences, and the line."""
    source = path.read_text()
    annotated = list(_annotations(ast.parse(source)))
    tree = get_ast(source)
    changes = []
    for name in plugins.operator_names():
        if plugins.get_operator(name).arguments():
            continue
        places = (
            place
            for node in ast_nodes(tree)
            for place in plugins.get_operator(name)().mutation_positions(node)
        )
        for occurrence, (start, stop) in enumerate(places):
            if not any(first <= start and stop <= last for first, last in annotated):
                changes.append((name, occurrence, start[0]))
    return changes


def _annotations(tree: ast.AST) -> Iterator[tuple[Place, Place]]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            found = getattr(node, name, None)
            if found is not None:
                yield (
                    (found.lineno, found.col_offset),
                    (found.end_lineno, found.end_col_offset),
                )


def _of_file(
    path: Path, changes: Sequence[tuple[str, int, int]], count: int, rng: random.Random
) -> Iterator[Mutant]:
    lines: set[int] = set()
    source = path.read_text()
    for name, occurrence, line in _in_turn(changes, rng):
        if len(lines) == count:
            return
        changed = mutate_code(source, plugins.get_operator(name)(), occurrence)
        if line not in lines and changed and changed != source and _is_python(changed):
            lines.add(line)
            place = str(path.relative_to(ROOT))
            yield Mutant(place, line, name, changed, _difference(source, changed))


def _in_turn(
    changes: Sequence[tuple[str, int, int]], rng: random.Random
) -> Iterator[tuple[str, int, int]]:
    """All changes in a drawn order, of every kind one before a second of any."""
    kinds = defaultdict(list)
    for change in rng.sample(changes, len(changes)):
        kinds[change[0].split("_")[0]].append(change)
    while kinds:
        for kind in rng.sample(sorted(kinds), len(kinds)):
            yield kinds[kind].pop()
            if not kinds[kind]:
                del kinds[kind]


def _is_python(source: str) -> bool:
    with contextlib.suppress(SyntaxError):
        ast.parse(source)
        return True
    return False


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in list(lines)[2:] if not line.startswith("@@"))


def survives(project: Path, mutant: Mutant | None, tests: Sequence[str], seconds: float) -> bool:
    """Whether all tests pass in time in `project`, a copy, with one file of it changed."""
    if mutant is None:
        return _pass(project, tests, seconds)
    path = project / mutant.path
    genuine = path.read_text()
    path.write_text(mutant.source)
    try:
        return _pass(project, tests, seconds)
    finally:
        path.write_text(genuine)


def _pass(project: Path, tests: Sequence[str], seconds: float) -> bool:
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(_tested(project, tests))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _tested(project: Path, tests: Sequence[str]) -> int:
    """The exit code of the tests, in the process that they have to themselves."""
    os.chdir(project)
    os.environ["PYTHONPATH"] = sys.path[0] = str(project)
    sys.dont_write_bytecode = True  # a second change within a second would not be seen
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("cir", "pipeline", "tests")
    ]:
        del sys.modules[name]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return int(pytest.main([*OPTIONS, *tests]))


def copied(folder: Path) -> Path:
    """What the tests need of the project, copied into `folder`."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", type=Path, help="whose files are changed")
    parser.add_argument("tests", nargs="+", help="what pytest runs for each mutant")
    parser.add_argument("--sample", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=300, help="a mutant that takes longer dies"
    )
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LOADED:
        importlib.import_module(name)
    mutants = mutants_drawn(ROOT / asked.room, asked.sample, asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = copied(Path(folder))
        if not survives(project, None, asked.tests, asked.seconds):
            sys.exit("the tests fail, or take too long, with nothing changed")
        survivors = 0
        for mutant in mutants:
            alive = survives(project, mutant, asked.tests, asked.seconds)
            survivors += alive
            change = f"\n{mutant.change}" if alive else ""
            fate = "survived" if alive else "killed"
            print(f"{fate} {mutant.path}:{mutant.line} {mutant.operator}{change}", flush=True)  # noqa: T201
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants killed")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
