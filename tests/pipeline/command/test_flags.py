"""Fields become flags on the command line, and the library knows of no flag."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import cir
from cir.config import (
    CheckConfig,
    Config,
    EmbedConfig,
    EvaluateConfig,
    InspectConfig,
    MineConfig,
    TrainConfig,
)
from pipeline.cli import app
from pipeline.command.flags import command, spelled

ROOT = Path(cir.__file__).parents[1]
LIBRARY = ROOT / "cir"
STAGES = ROOT / "pipeline"
EXEMPT = (LIBRARY / "reporting" / "svg.py", STAGES / "cli.py")
"""Names of CSS variables, and the command line itself."""


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        (MineConfig, "`margin` is 3; expected 0 to 2", "--margin is 3; expected 0 to 2"),
        (MineConfig, "`num_negatives` is 0", "--num-negatives is 0"),
        (MineConfig, "pass `overwrite=True`.", "pass --overwrite."),
        (TrainConfig, "pass `remine=False`", "pass --no-remine"),
        (TrainConfig, "pass `resume=False`", "pass no --resume"),
        (MineConfig, "pass `on_starved='drop'`", "pass --on-starved drop"),
        (MineConfig, "pass `index='flat'`, or auto", "pass --index flat, or auto"),
        (MineConfig, "(`block_size=3`)", "(--block-size 3)"),
        (MineConfig, "pass `out='a b'`", "pass --out 'a b'"),
        (MineConfig, "pass `checkpoint=FOLDER`", "pass --checkpoint FOLDER"),
        (TrainConfig, "`tracker=('wandb', 'none')`", "--tracker wandb --tracker none"),
        (MineConfig, "`min`, `margin`'s least", "`min`, --margin's least"),
        (EvaluateConfig, "`clip4cir_combiner` is", "--clip4cir-combiner is"),
    ],
)
def test_a_field_becomes_an_option(command: type[Config], text: str, shown: str) -> None:
    assert spelled(text, command) == shown


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        (EmbedConfig, "`dataset` is nowhere", "DATASET is nowhere"),
        (CheckConfig, "pass `dataset='my photos'`", "pass 'my photos'"),
        (MineConfig, "`dataset` is nowhere", "--dataset is nowhere"),
        (InspectConfig, "`manifest`", "MANIFEST"),
        (None, "`manifest`", "--manifest"),
        (None, "`other`", "OTHER"),
    ],
)
def test_a_position_becomes_its_word(command: type[Config] | None, text: str, shown: str) -> None:
    assert spelled(text, command) == shown


@pytest.mark.parametrize(
    "text",
    [
        "run `cir mine` again",
        "`vectors` is (3, 4); expected (3, 5)",
        "the id a`margin`b",
        "the id '`margin`'",
        "`margin",
        "``margin``",
        "`MARGIN`",
    ],
)
def test_what_names_no_field_stays(text: str) -> None:
    assert spelled(text, MineConfig) == text


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Each text in a module's code, with its line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.slow
def test_the_library_and_the_stages_name_fields_and_no_flags() -> None:
    named = [
        f"{file}:{line}: {text}"
        for file in sorted({*LIBRARY.rglob("*.py"), *STAGES.glob("*.py")} - {*EXEMPT})
        for line, text in texts(file)
        # A flag of another program, named with it, is not one of ours.
        if re.search(r"(?<![\w-])(?<!docker run )--([a-z]|$)", text)
    ]
    assert not named, "\n".join(named)


def helps(command: Any) -> Iterator[str]:
    """The help of a command, of its parameters and of the commands below it."""
    yield command.help or ""
    yield from (parameter.help or "" for parameter in command.params if hasattr(parameter, "help"))
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


def test_a_help_names_flags_and_no_fields() -> None:
    every = list(helps(typer.main.get_command(app)))
    assert any("With --strategy adaptive, the valid" in text for text in every)
    assert any("cir embed with --engine ray" in text for text in every)
    assert not [text for text in every if re.search(r"`\w+(=[^`]*)?`", text)]


def test_a_configuration_is_the_command_that_makes_it() -> None:
    made = TrainConfig(manifest=Path("my m.parquet"), epochs=5, remine=False, learning_rate=0.01)
    line = command(TrainConfig, {**made.to_json(), "resume": True, "of_another_version": 1})
    assert line == "cir train --manifest 'my m.parquet' --no-remine --epochs 5 --learning-rate 0.01"
    shown = InspectConfig(manifest=Path("a"), other=Path("b"), html=Path("c"), overwrite=True)
    assert command(InspectConfig, shown.to_json()) == "cir inspect a b --html c"
