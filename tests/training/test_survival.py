"""How runs survive: killed anywhere, asked to stop, out of space, gone astray."""

import math
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.errors import StoppedError, TrainingError
from cir.processes import ALONE
from cir.training import engine, saving
from cir.training.step import Learner
from cir.training.signals import StopRequest
from cir.training.train import train
from pipeline.cli import FAILED
from tests.support.micro import micro_encoder
from tests.support.runs import (
    SETTINGS,
    Fuse,
    Killed,
    assert_same,
    command_of,
    config_of,
    killed_after,
    metrics,
    run,
    started,
    state,
)


def test_a_resumed_run_ends_as_one_never_killed(tmp_path, straight, dataset, embeddings):
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, embeddings, killed_after(1))
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


STAGES = {
    "train_epoch": engine,
    "recalls": engine,
    "save_checkpoint": saving,
    "mine_manifest": engine,
    "write_manifest": engine,
}
"""What is called at each stage of an epoch, and where from."""


@pytest.mark.parametrize(
    ("epoch", "stage", "call"),
    [*((epoch, stage, 1) for epoch in (0, 2) for stage in STAGES), (0, "save_checkpoint", 2)],
)
def test_a_run_killed_at_any_stage_resumes(
    tmp_path, straight, dataset, embeddings, monkeypatch, epoch, stage, call
):
    killed = tmp_path / "killed"
    with monkeypatch.context() as patched:
        fuse = Fuse(getattr(STAGES[stage], stage), call)
        patched.setattr(STAGES[stage], stage, fuse)
        with pytest.raises(Killed):
            run(killed, dataset, embeddings, partial(fuse.light, epoch))
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


FINE_TUNING = {
    "tune": "both",
    "encode_batch": 5,
    "layer_decay": 0.7,
    "checkpoint_activations": True,
    "ema": 0.9,
    "precision": "bf16",
}


@pytest.mark.parametrize(
    "changes", [{"tune": "both"}, {"tune": "image", "online_top_k": 4}, FINE_TUNING]
)
def test_a_resumed_run_of_tuned_towers_ends_as_one_never_killed(
    tmp_path, dataset, encoded, monkeypatch, changes
):
    monkeypatch.setattr("cir.encoding.origin.load_encoder", lambda *_, **__: micro_encoder())
    changes |= {"epochs": 2, "clip_learning_rate": 1e-3}
    straight = run(tmp_path / "straight", dataset, encoded, **changes)
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, encoded, killed_after(1), **changes)
    run(killed, dataset, encoded, resume=True, **changes)
    assert_same(straight, killed)


@pytest.mark.parametrize("stage", ["recalls", "mine_manifest", "write_manifest"])
def test_a_killed_run_resumes_with_its_average(tmp_path, dataset, embeddings, monkeypatch, stage):
    straight = run(tmp_path / "straight", dataset, embeddings, ema=0.8)
    killed = tmp_path / "killed"
    with monkeypatch.context() as patched:
        fuse = Fuse(getattr(engine, stage), 1)
        patched.setattr(engine, stage, fuse)
        with pytest.raises(Killed):
            run(killed, dataset, embeddings, partial(fuse.light, 1), ema=0.8)
    run(killed, dataset, embeddings, resume=True, ema=0.8)
    assert_same(straight, killed)


def test_a_finished_run_resumed_trains_nothing(tmp_path, straight, dataset, embeddings):
    out = shutil.copytree(straight, tmp_path / "run")
    before, told = state(out), []
    assert run(out, dataset, embeddings, told.append, resume=True) == out
    assert (state(out), told) == (before, [])


def test_what_a_kill_left_aside_is_swept_away(tmp_path, straight, dataset, embeddings):
    out = shutil.copytree(straight, tmp_path / "run")
    (out / "checkpoints/.last-0123abcd").mkdir()
    (out / "checkpoints/.last-0123abcd/combiner.safetensors").touch()
    (out / ".metrics-0123abcd.jsonl").touch()
    (out / ".gitignore").touch()
    run(out, dataset, embeddings, resume=True)
    assert [file.name for file in out.rglob(".*")] == [".gitignore"]


def test_a_run_killed_before_its_first_checkpoint_starts_anew(
    tmp_path, straight, dataset, embeddings
):
    killed = shutil.copytree(straight, tmp_path / "killed")
    shutil.rmtree(killed / "checkpoints")
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


# --------------------------------------------------------------------------- within an epoch


class Interrupted:
    """Stands in for `Learner.update`: does something once it has been called so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, what: Callable[[], None]) -> None:
        self._left = at
        update = Learner.update

        def counted(learner: Learner, done: float) -> float:
            self._left -= 1
            if self._left == 0:
                what()
            return update(learner, done)

        monkeypatch.setattr(Learner, "update", counted)


def kill() -> None:
    raise Killed


def saved_at(out: Path) -> tuple[int, int]:
    """The epochs that are finished in `last`, and the steps of the next one."""
    metadata = read_checkpoint(out / "checkpoints/last").metadata
    return metadata.epoch, metadata.step


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.8, "learn_temperature": True},
        {"combiner": "gated-sum", "online_top_k": 4, "loss": "triplet"},
        {"combiner": "clip4cir", "precision": "bf16", "contrast": "batch+bank"},
        {"tune": "image", "contrast": "batch+bank", "epochs": 2, "clip_learning_rate": 1e-3},
        {"tune": "both", "online_top_k": 4, "epochs": 2, "clip_learning_rate": 1e-3},
        FINE_TUNING | {"epochs": 2, "clip_learning_rate": 1e-3},
    ],
    ids=str,
)
def test_a_run_killed_every_few_steps_ends_as_one_never_killed(
    tmp_path, dataset, encoded, monkeypatch, changes
):
    monkeypatch.setattr("cir.encoding.origin.load_encoder", lambda *_, **__: micro_encoder())
    straight = run(tmp_path / "straight", dataset, encoded, **changes)
    killed, resume, places = tmp_path / "killed", False, []
    while not resume or len(metrics(killed)) < len(metrics(straight)):
        with monkeypatch.context() as patched:
            Interrupted(patched, 3, kill)
            with suppress(Killed):
                run(killed, dataset, encoded, resume=resume, save_minutes=0, **changes)
        resume = True
        places.append(saved_at(killed))
    assert len({place for place in places if place[1]}) > 1
    assert_same(straight, killed)


def test_within_an_epoch_a_run_is_saved_after_so_many_minutes(
    tmp_path, dataset, embeddings, monkeypatch
):
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(engine.time, "monotonic", lambda: float(next(clock)))
    saved = []
    plain = saving.save_checkpoint
    monkeypatch.setattr(
        saving,
        "save_checkpoint",
        lambda *a, **k: saved.append(k["metadata"].step) or plain(*a, **k),
    )
    run(tmp_path / "run", dataset, embeddings, epochs=1, save_minutes=1)
    assert 2 in saved or 3 in saved
    assert 1 not in saved


# --------------------------------------------------------------------------- asked to stop


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("update", [1, 4, 6])
def test_a_signal_saves_and_leaves(
    tmp_path, straight, dataset, embeddings, monkeypatch, sent, update
):
    out, before = tmp_path / "run", signal.getsignal(sent)
    steps = len(draws_of(straight, dataset))
    with monkeypatch.context() as patched:
        Interrupted(patched, update, lambda: os.kill(os.getpid(), sent))
        with pytest.raises(StoppedError) as stopped:
            run(out, dataset, embeddings)
    assert signal.getsignal(sent) is before
    assert stopped.value.signal == sent
    epoch, step = divmod(update - 1, steps)
    assert saved_at(out) == (epoch, step + 1)
    assert str(stopped.value) == (
        f"stopped by {sent.name} at epoch {epoch + 1}, step {step + 1} of {steps}; saved in "
        f"{out}/checkpoints/last: go on with --resume"
    )
    run(out, dataset, embeddings, resume=True)
    assert_same(straight, out)


def draws_of(straight: Path, dataset: Dataset) -> range:
    """The steps of an epoch."""
    queries = len(read_manifest(straight / "manifests/epoch-000.parquet"))
    return range(-(-queries // SETTINGS["batch_size"]))


@pytest.mark.parametrize("stage", ["recalls", "mine_manifest", "write_manifest"])
def test_outside_of_steps_a_signal_is_heeded_at_once(
    tmp_path, straight, dataset, embeddings, monkeypatch, stage
):
    out, calls = tmp_path / "run", []
    plain = getattr(engine, stage)

    def signalled(*args, **kwargs):
        calls.append(stage)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            calls.append("never")
        return plain(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(engine, stage, signalled)
        with pytest.raises(StoppedError, match="stopped by SIGTERM between two epochs"):
            run(out, dataset, embeddings)
    assert "never" not in calls
    run(out, dataset, embeddings, resume=True)
    assert_same(straight, out)


def test_the_second_signal_is_not_heeded(tmp_path, monkeypatch):
    done = []
    wish = StopRequest(tmp_path, ALONE)
    monkeypatch.setattr("signal.signal", lambda *given: done.append(given))
    monkeypatch.setattr("os.kill", lambda *given: done.append(given))
    with suppress(StoppedError), wish.waiting():
        wish.receive(signal.SIGTERM, None)
        assert not done
        wish.receive(signal.SIGTERM, None)
    assert done == [(signal.SIGTERM, signal.SIG_DFL), (os.getpid(), signal.SIGTERM)]


def test_outside_of_the_main_thread_signals_are_left_alone(tmp_path, dataset, embeddings):
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, tmp_path / "run", dataset, embeddings, epochs=1).result()
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(metrics(tmp_path / "run")) == 2


def test_the_command_ends_with_the_code_of_its_signal(tmp_path, files):
    out = tmp_path / "run"
    process = started(command_of(files, out, epochs=10_000, tracker="none"))
    try:
        wait_for(lambda: (out / "metrics.jsonl").exists() and len(metrics(out)) > 2)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, said
    (told,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert told.startswith("error: stopped by SIGTERM ")
    assert "Traceback" not in said


def wait_for(come: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


# --------------------------------------------------------------------------- gone astray


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
    batch = message.partition("the batch was ")[2].split(", ")
    assert len(batch) in (7, 8)
    assert set(batch) <= {query.id for query in dataset.queries("train")}
    assert set(before) == {
        f"{name}/{file}"
        for name in ("last", "best")
        for file in ("combiner.safetensors", "trainer.pt", "metadata.json")
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


def test_the_command_says_in_one_line_that_the_loss_exploded(tmp_path, files):
    out = tmp_path / "run"
    process = started(command_of(files, out, learning_rate=1e30, save_minutes=0, tracker="none"))
    _, said = process.communicate(timeout=120)
    assert process.returncode == FAILED
    assert [line for line in said.splitlines() if "error" in line.lower()] == [
        line for line in said.splitlines() if line.startswith("error: the loss is nan at epoch 1")
    ]
    assert saved_at(out) == (0, 0)
    assert not list(out.rglob(".*"))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, dataset, files):
    """Files may not grow beyond what the weights take: the optimiser's state does not fit."""
    settings = {"hidden": 64, "tracker": ("none",), **files}
    read = dataset, read_embeddings(files["embeddings"]), read_manifest(files["manifest"])
    straight, out = train(config_of(tmp_path / "straight", **settings), *read), tmp_path / "run"
    last = straight / "checkpoints/last"
    room = 2 * (last / "combiner.safetensors").stat().st_size
    assert room < (last / "trainer.pt").stat().st_size
    process = started(
        command_of(files, out, save_minutes=0, hidden=64, tracker="none"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == FAILED
    (told,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert told.startswith(f"error: cannot write {out}/checkpoints/last: File too large")
    assert told.endswith("what stood there before is untouched")
    assert saved_at(out) == (0, 0)
    assert not list(out.rglob(".*"))
    train(config_of(out, resume=True, **settings), *read)
    assert_same(straight, out)
