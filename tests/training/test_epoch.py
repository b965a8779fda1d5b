"""Epochs that end early: a loss or a gradient that is not finite."""

import math
from pathlib import Path

import pytest

from cir.disk.recognition import MARKER
from cir.errors import TrainingError
from cir.training.step import Learner
from pipeline.command.faults import FAILED
from tests.support.forked import CIR, forked
from tests.support.runs import (
    command_of,
    hidden,
    run,
    saved_at,
)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, dataset, embeddings):
    """Though it is saved after every step, the checkpoints stay what they were before."""
    out, before = tmp_path / "run", {}
    with pytest.raises(TrainingError) as stopped:
        run(
            out,
            dataset,
            embeddings,
            lambda line: before.update(contents(out / "checkpoints")),
            learning_rate=1e30,
            save_minutes=0,
        )
    message = str(stopped.value)
    assert "\n" not in message
    assert "the loss is nan at epoch 1, step 2: " in message
    named, _, more = message.partition("the batch was ")[2].partition(" and ")
    batch = named.split(", ")
    assert (len(batch), more in ("2 more", "3 more")) == (5, True)
    assert set(batch) <= {query.id for query in dataset.queries("train")}
    assert set(before) == {
        f"{name}/{file}"
        for name in ("last", "best")
        for file in ("combiner.safetensors", "trainer.pt", "metadata.json", MARKER)
    }
    assert contents(out / "checkpoints") == before


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_gradient_that_is_not_finite_moves_nothing(tmp_path, dataset, embeddings, monkeypatch):
    backward, moved = Learner.backward, []
    monkeypatch.setattr(Learner, "backward", lambda *a: math.inf * backward(*a))
    monkeypatch.setattr(Learner, "update", lambda *a: moved.append(a))
    with pytest.raises(TrainingError, match="the gradient is inf at epoch 1, step 1: "):
        run(tmp_path / "run", dataset, embeddings)
    assert not moved


@pytest.mark.slow
def test_the_command_says_in_one_line_that_the_loss_exploded(tmp_path, files):
    out = tmp_path / "run"
    process = forked(
        CIR, command_of(files, out, learning_rate=1e30, save_minutes=0, tracker="none")
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == FAILED
    assert [line for line in said.splitlines() if "error" in line.lower()] == [
        line for line in said.splitlines() if line.startswith("error: the loss is nan at epoch 1")
    ]
    assert saved_at(out) == (0, 0)
    assert hidden(out) == {MARKER}
