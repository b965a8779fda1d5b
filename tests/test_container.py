"""The container's recipe: what it copies is there, what it runs exists, and nobody is root."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cir.config import ServeConfig
from cir.serving.routes import about
from pipeline.cli import app

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
RECIPE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", RECIPE, re.MULTILINE)


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    taken = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        word.removeprefix("./")
        for line in instructions("COPY")
        if not line.startswith("--from")
        for word in line.split()[:-1]
    }
    assert copied == taken
    assert all((ROOT / name).exists() for name in copied)


def test_it_serves_as_another_user_than_root() -> None:
    last_stage = RECIPE.rsplit("FROM ", 1)[1]
    assert re.search(r"useradd .*--uid 10001", last_stage)
    assert last_stage.index("USER 10001") < last_stage.index("ENTRYPOINT")


def test_a_linter_of_containers_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=os.pathsep.join([str(BIN), os.environ["PATH"]]))
    if linter is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run(
        [linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.returncode) == ("", 0), found.stderr


def test_its_command_and_health_check_are_those_of_the_server() -> None:
    command = json.loads(instructions("CMD")[-1])
    found = typer.main.get_command(app).commands[command[0]]
    flags = {flag for each in found.params for flag in each.opts}
    assert {word for word in command if word.startswith("--")} <= flags
    assert f"127.0.0.1:{ServeConfig.port}/api/health" in RECIPE
    assert instructions("EXPOSE") == [str(ServeConfig.port)]
    assert "/health" in {route.path for route in about.router.routes}
