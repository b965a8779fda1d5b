"""The README's commands are commands, and its flags are flags."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINES = [line.split("#")[0].split() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line[1:] for line in LINES if line[:1] == ["cir"]]
TARGETS = [line[1] for line in LINES if line[:1] == ["make"]]


def test_the_readme_opens_with_make_demo_and_make_test() -> None:
    assert TARGETS[:2] == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in TARGETS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_takes_its_flags(command: list[str]) -> None:
    words = command[:2] if command[0] == "data" else command[:1]
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    flags = [part for part in command if part.startswith("--")]
    assert all(f"{flag} " in shown.output for flag in flags), flags


def test_every_figure_of_the_readme_is_filled_in() -> None:
    assert not re.findall(r"@[A-Z]+@", README)


@pytest.mark.parametrize("script", SCRIPTS, ids=["mine_negatives"])
def test_a_script_of_the_readme_runs(script: str) -> None:
    exec(script, {})
