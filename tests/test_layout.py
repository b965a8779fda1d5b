"""The tests mirror the rooms, and share what they need through `tests.support` alone."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
ROOMS = {folder.name for folder in (ROOT / "cir").iterdir() if (folder / "__init__.py").exists()}
OF_TESTS_ALONE = {"tests", "support", "benchmarks"}
FILES = sorted(TESTS.rglob("*.py"))


def inits(folder: Path) -> Iterator[Path]:
    """The `__init__.py` of a folder and of every folder below it."""
    return folder.rglob("__init__.py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that an import may load as a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def of_another_test(name: str) -> bool:
    first, *others = name.split(".")
    return first == "tests" and any(part.startswith(("test_", "conftest")) for part in others)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("from tests.mining.test_manifest import World", True),
        ("from tests.mining import test_manifest", True),
        ("import tests.training.conftest", True),
        ("from tests.support.worlds import small_dataset", False),
        ("from cir.disk.files import test_of_nothing", False),
    ],
)
def test_an_import_of_another_test_is_seen(line: str, refused: bool) -> None:
    assert any(map(of_another_test, imported(ast.parse(line)))) is refused


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_imports_from_another_test(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [name for name in imported(tree) if of_another_test(name)] == []
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def test_each_folder_of_tests_mirrors_a_room() -> None:
    folders = {path.parent.relative_to(TESTS) for path in FILES if path.parent != TESTS}
    rooms = {folder for folder in folders if folder.parts[0] not in OF_TESTS_ALONE}
    for room in rooms:
        package = room if room.parts[0] == "pipeline" else "cir" / room
        assert (ROOT / package / "__init__.py").exists(), room
    assert {folder.parts[0] for folder in rooms} >= ROOMS


MAPPED = sorted(path.parent for name in ("cir", "pipeline") for path in inits(ROOT / name))


@pytest.mark.parametrize("folder", MAPPED, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_each_package_says_what_is_inside(folder: Path) -> None:
    """Every module has a line in the map of its package, or stands in one in backticks."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    tree = ast.parse((folder / "__init__.py").read_text())
    text = ast.get_docstring(tree, clean=False) or ""
    rows = re.findall(r"^ {4}(\w+(?:, \w+)*)(?: {2,}| |\n)", text, re.MULTILINE)
    named = {name for row in rows for name in row.split(", ")}
    mentioned = set(re.findall(r"`(\w+)`", text))
    assert modules | packages <= named | mentioned
    assert named <= modules | packages


@pytest.mark.slow
def test_calls_are_checked_wherever_arrays_are_annotated() -> None:
    """A module that names shapes and is in no package of the check would be annotated in vain."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    option = "--jaxtyping-packages="
    given = next(one for one in settings["addopts"] if one.startswith(option))
    packages = [f"{package}." for package in given.removeprefix(option).split(",")]
    for path in (ROOT / "cir").rglob("*.py"):
        if "jaxtyping" in map(first_part, imported(ast.parse(path.read_text("utf-8")))):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts) + "."
            assert module.startswith(tuple(packages)), path


def first_part(name: str) -> str:
    return name.split(".")[0]
