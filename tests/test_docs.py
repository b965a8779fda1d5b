"""README and docs: commands, flags, links, files and scripts are those of the program."""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import TINY
from cir.encoding.loading import load_encoder
from cir.models.combiner import build_combiner
from pipeline.cli import app
from tests.support.checkpoints import HIDDEN, saved

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in (README, ROOT / "data/README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
MARKUP = re.compile(r"```.*?```", re.DOTALL)
WITHOUT_BLOCKS = {name: MARKUP.sub("", text) for name, text in PAGES.items()}
MOST_LINES = 150
PLACES = ("cir/", "pipeline/", "tests/", "docs/", "data/README", ".ci/")
"""Where the repository's own files lie; other names in backticks are the user's."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Each block of a language with its page."""
    opening = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return [(name, block) for name, text in PAGES.items() for block in opening.findall(text)]


def commands(*first: str) -> list[list[str]]:
    """The words after `first` of every command line in the pages, each line once."""
    lines = (line.split("#")[0].split() for _, b in blocks("bash") for line in b.splitlines())
    found = (line[line.index(first[-1]) + 1 :] for line in lines if set(first) <= set(line))
    return sorted({tuple(line): line for line in found if line}.values())


def links(name: str) -> list[str]:
    """The targets of a page's links and pictures within the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", WITHOUT_BLOCKS[name])
    return [target for target in found if "://" not in target]


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", MARKUP.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def files_named(text: str) -> Iterator[str]:
    """The files of the repository that a text names in backticks."""
    for name in re.findall(r"`([^`\s]+)`", text):
        if name.startswith(PLACES) and not re.search(r"[<{*]", name):
            yield name


@cache
def command_line() -> Any:
    """The program's commands, as typer builds them."""
    return typer.main.get_command(app)


def options(command: Any) -> set[str]:
    """The options of a command and of those below it."""
    below = getattr(command, "commands", {}).values()
    own = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    return own.union(*(options(each) for each in below))


def test_the_readme_is_short_and_opens_with_make_demo_and_make_test() -> None:
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES
    opening = next(block for name, block in blocks("bash") if name == "README.md")
    assert re.findall(r"^make (\w+)", opening, re.MULTILINE) == ["demo", "test"]


@pytest.mark.parametrize("target", sorted({words[0] for words in commands("make")}))
def test_a_target_of_make_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", commands("cir"), ids=" ".join)
def test_a_command_takes_its_flags(command: list[str]) -> None:
    found: Any = command_line()
    for word in command[: 2 if command[0] == "data" else 1]:
        found = found.commands[word]
    assert {part for part in command if part.startswith("--")} <= options(found)


@pytest.mark.parametrize("command", commands("python", "-m"), ids=" ".join)
def test_a_benchmark_takes_its_flags(command: list[str]) -> None:
    module, *rest = command
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    sources = "".join(f.read_text() for f in (ROOT / "tests/benchmarks").glob("*.py"))
    flags = [part for part in rest if part.startswith("--")]
    assert all(f'"{flag}"' in sources for flag in flags), flags


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages have it: a run of the bundled encoder, and photos."""
    folder = tmp_path_factory.mktemp("pages")
    provenance = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=torch.device("cpu")
    ).provenance
    combiner = build_combiner("attention-fusion", dim=provenance.embed_dim, hidden=HIDDEN)
    saved(folder / "runs/default/checkpoints/best", combiner, provenance)
    (folder / "photos").mkdir()
    write_embeddings(
        folder / "data/shop.h5",
        images=VectorTable(("1163", "1164"), np.ones((2, provenance.embed_dim), np.float32)),
        captions=VectorTable(("is red",), np.ones((1, provenance.embed_dim), np.float32)),
        image_sha256=("0" * 64, "1" * 64),
        provenance=provenance,
        skipped={},
    )
    for name in ("dress.jpg", "shirt.jpg", "skirt.jpg", "photos/1.jpg", "photos/2.jpg"):
        Image.new("RGB", (64, 96), "navy").save(folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [pytest.param(block, id=f"{name}-{n}") for n, (name, block) in enumerate(blocks("python"))],
)
def test_a_script_runs(script: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_run)
    exec(script, {})


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_picture_leads_somewhere(name: str) -> None:
    for target in links(name):
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert file.exists(), target
        known = anchors(file.read_text(encoding="utf-8")) if anchor else set()
        assert not anchor or anchor in known, f"{target}: one of {sorted(known)}"


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_is_there(name: str) -> None:
    lacking = [named for named in files_named(WITHOUT_BLOCKS[name]) if not (ROOT / named).exists()]
    assert not lacking


@pytest.mark.parametrize("name", PAGES)
def test_every_option_that_is_named_is_one(name: str) -> None:
    named = re.findall(r"`(?:cir [a-z]+ )?(--[a-z0-9-]+)", WITHOUT_BLOCKS[name])
    assert set(named) <= options(command_line()) | {"--help"}


@pytest.mark.parametrize(
    "module", sorted({m for text in PAGES.values() for m in re.findall(r"^::: (\S+)$", text, re.M)})
)
def test_a_module_of_the_reference_can_be_imported(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")]
    assert all(f"{page}\n" in navigation for page in pages)


def test_every_figure_is_filled_in() -> None:
    assert not [name for name, text in PAGES.items() if re.search(r"@[A-Z]+@", text)]
