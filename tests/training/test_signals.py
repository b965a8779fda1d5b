"""Runs that a signal stops, and the signals after it."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cir.artefacts.manifest import read_manifest
from cir.data.dataset import Dataset
from cir.errors import StoppedError
from cir.machine.processes import ALONE
from cir.training.signals import StopRequest
from tests.support.forked import CIR, forked
from tests.support.runs import (
    SETTINGS,
    STAGES,
    Interrupted,
    assert_same,
    command_of,
    metrics,
    run,
    saved_at,
)


@pytest.mark.slow
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
        f"{out}/checkpoints/last: go on with `resume=True`"
    )
    run(out, dataset, embeddings, resume=True)
    assert_same(straight, out)


def draws_of(straight: Path, dataset: Dataset) -> range:
    """The steps of an epoch."""
    queries = len(read_manifest(straight / "manifests/epoch-000.parquet"))
    return range(-(-queries // SETTINGS["batch_size"]))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["recalls", "mine_manifest", "write_manifest"])
def test_outside_of_steps_a_signal_stops_at_once(
    tmp_path, straight, dataset, embeddings, monkeypatch, stage
):
    out, calls = tmp_path / "run", []
    plain = getattr(STAGES[stage], stage)

    def signalled(*args, **kwargs):
        calls.append(stage)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            calls.append("never")
        return plain(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(STAGES[stage], stage, signalled)
        with pytest.raises(StoppedError, match="stopped by SIGTERM between two epochs"):
            run(out, dataset, embeddings)
    assert "never" not in calls
    run(out, dataset, embeddings, resume=True)
    assert_same(straight, out)


def test_the_second_signal_ends_the_program(tmp_path, monkeypatch):
    done = []
    stop = StopRequest(tmp_path, ALONE)
    monkeypatch.setattr("signal.signal", lambda *given: done.append(given))
    monkeypatch.setattr("os.kill", lambda *given: done.append(given))
    with suppress(StoppedError), stop.deferred():
        stop.receive(signal.SIGTERM, None)
        assert not done
        stop.receive(signal.SIGTERM, None)
    assert done == [(signal.SIGTERM, signal.SIG_DFL), (os.getpid(), signal.SIGTERM)]


@pytest.mark.slow
def test_outside_of_the_main_thread_signals_are_left_alone(tmp_path, dataset, embeddings):
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, tmp_path / "run", dataset, embeddings, epochs=1).result()
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(metrics(tmp_path / "run")) == 2


@pytest.mark.slow
def test_the_command_ends_with_the_code_of_its_signal(tmp_path, files):
    out = tmp_path / "run"
    process = forked(CIR, command_of(files, out, epochs=10_000, tracker="none"))
    try:
        wait_for(lambda: (out / "metrics.jsonl").exists() and len(metrics(out)) > 2)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, said
    (told,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert told.startswith("error: stopped by SIGTERM ")
    assert "Traceback" not in said


def wait_for(come: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
