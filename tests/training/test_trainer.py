"""Runs killed anywhere and resumed: they end as those that were never killed."""

import json
import shutil
from contextlib import suppress
from functools import partial

import pytest

from cir.disk.recognition import MARKER, write_marker
from cir.training import checkpoints
from cir.training.dev import DevEvaluator
from cir.training.vectors import CurrentVectors
from tests.support.micro import micro_encoder
from tests.support.runs import (
    STAGES,
    Fuse,
    Interrupted,
    Killed,
    assert_same,
    hidden,
    killed_after,
    killing,
    metrics,
    run,
    saved_at,
    state,
)


@pytest.mark.slow
def test_a_resumed_run_ends_as_one_never_killed(tmp_path, straight, dataset, embeddings):
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, embeddings, killed_after(1))
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epoch", "stage", "call"),
    [*((epoch, stage, 1) for epoch in (0, 1) for stage in STAGES), (0, "save_checkpoint", 2)],
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


def plateau(headlines: list[float], patience: int) -> int:
    """Epochs that a run takes whose dev headline goes so, counted by hand."""
    best, since = headlines[0], 0
    for epoch, headline in enumerate(headlines[1:], 1):
        best, since = (headline, 0) if headline > best else (best, since + 1)
        if since == patience:
            return epoch
    return len(headlines) - 1


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 2])
def test_a_run_ends_at_its_plateau_also_when_resumed(
    tmp_path, dataset, embeddings, monkeypatch, patience
):
    headlines = [1.0, 2.0, 2.0, 3.0, 1.0, 3.0, 4.0]
    figures = DevEvaluator.figures

    def judged(self, vectors, combiner, query):
        found = figures(self, vectors, combiner, query)
        at = len(metrics(out)) if (out / "metrics.jsonl").exists() else 0
        return found | {"headline": headlines[at], "R@1": 0.0}

    monkeypatch.setattr(DevEvaluator, "figures", judged)
    out = tmp_path / "run"
    run(out, dataset, embeddings, epochs=6, patience=patience)
    assert len(metrics(out)) - 1 == plateau(headlines, patience)
    before = state(out)
    run(out, dataset, embeddings, epochs=6, patience=patience, resume=True)
    assert state(out) == before


@pytest.mark.slow
def test_a_resumed_run_of_a_tuned_tower_ends_as_one_never_killed(
    tmp_path, dataset, encoded, monkeypatch
):
    """One of both towers is killed every few steps, below."""
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    changes = {"tune": "image", "online_top_k": 4, "epochs": 2, "clip_learning_rate": 1e-3}
    straight = run(tmp_path / "straight", dataset, encoded, **changes)
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, encoded, killed_after(1), **changes)
    run(killed, dataset, encoded, resume=True, **changes)
    assert_same(straight, killed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["recalls", "mine_manifest", "write_manifest"])
def test_a_killed_run_resumes_with_its_average(tmp_path, dataset, embeddings, monkeypatch, stage):
    straight = run(tmp_path / "straight", dataset, embeddings, ema=0.8)
    killed = tmp_path / "killed"
    with monkeypatch.context() as patched:
        fuse = Fuse(getattr(STAGES[stage], stage), 1)
        patched.setattr(STAGES[stage], stage, fuse)
        with pytest.raises(Killed):
            run(killed, dataset, embeddings, partial(fuse.light, 1), ema=0.8)
    run(killed, dataset, embeddings, resume=True, ema=0.8)
    assert_same(straight, killed)


def test_a_finished_run_resumed_trains_nothing(tmp_path, straight, dataset, embeddings):
    out = shutil.copytree(straight, tmp_path / "run")
    before, told = state(out), []
    assert run(out, dataset, embeddings, told.append, resume=True) == out
    assert (state(out), told) == (before, [])


def test_a_run_of_a_version_that_took_settings_of_towers_in_vain_is_resumed(
    tmp_path, straight, dataset, embeddings
):
    out = shutil.copytree(straight, tmp_path / "run")
    recorded = json.loads((out / "config.json").read_text()) | {
        "clip_learning_rate": 2e-6,
        "weights": "clip.safetensors",
    }
    (out / "config.json").write_text(json.dumps(recorded))
    assert run(out, dataset, embeddings, resume=True) == out


@pytest.mark.slow
def test_a_run_at_its_end_encodes_nothing_when_it_is_resumed(
    tmp_path, dataset, encoded, monkeypatch
):
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    settings = {"tune": "text", "epochs": 1, "clip_learning_rate": 1e-3}
    out = run(tmp_path / "run", dataset, encoded, **settings)
    before = state(out)
    monkeypatch.setattr(CurrentVectors, "encode_again", lambda *_, **__: pytest.fail("encoded"))
    run(out, dataset, encoded, resume=True, **settings)
    assert state(out) == before


def test_what_a_kill_left_aside_is_swept_away(tmp_path, straight, dataset, embeddings):
    out = shutil.copytree(straight, tmp_path / "run")
    (out / "checkpoints/.last.cir-0123abcd").mkdir()
    write_marker(out / "checkpoints/.last.cir-0123abcd", "checkpoint", ())
    (out / "checkpoints/.last.cir-0123abcd/combiner.safetensors").touch()
    (out / ".metrics.cir-0123abcd.jsonl").touch()
    (out / ".gitignore").touch()
    run(out, dataset, embeddings, resume=True)
    assert hidden(out) == {MARKER, ".gitignore"}


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_starts_anew(
    tmp_path, straight, dataset, embeddings
):
    killed = shutil.copytree(straight, tmp_path / "killed")
    shutil.rmtree(killed / "checkpoints")
    for name in ("metrics.jsonl", "times.jsonl"):
        (killed / name).unlink()
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"ema": 0.8, "learn_temperature": True, "weighting": "hardness", "hardness": 1.0},
        {"combiner": "gated-sum", "online_top_k": 4, "loss": "triplet"},
        {"combiner": "clip4cir", "precision": "bf16", "contrast": "batch+bank"},
        {"weighting": "trust", "curriculum": "adaptive"},
        {"tune": "both", "online_top_k": 4, "clip_learning_rate": 1e-3},
        FINE_TUNING | {"clip_learning_rate": 1e-3},
    ],
    ids=str,
)
def test_a_run_killed_every_few_steps_ends_as_one_never_killed(
    tmp_path, dataset, encoded, monkeypatch, changes
):
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    straight = run(tmp_path / "straight", dataset, encoded, **changes)
    killed, resume, places = tmp_path / "killed", False, []
    while not resume or len(metrics(killed)) < len(metrics(straight)):
        with monkeypatch.context() as patched:
            Interrupted(patched, 3, killing)
            with suppress(Killed):
                run(killed, dataset, encoded, resume=resume, save_minutes=0, **changes)
        resume = True
        places.append(saved_at(killed))
    assert len({place for place in places if place[1]}) > 1
    assert_same(straight, killed)


@pytest.mark.slow
def test_within_an_epoch_a_run_is_saved_after_so_many_minutes(
    tmp_path, dataset, embeddings, monkeypatch
):
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: float(next(clock)))
    saved = []
    plain = checkpoints.save_checkpoint
    monkeypatch.setattr(
        checkpoints,
        "save_checkpoint",
        lambda *a, **k: saved.append(k["metadata"].step) or plain(*a, **k),
    )
    run(tmp_path / "run", dataset, embeddings, epochs=1, save_minutes=1)
    assert 2 in saved or 3 in saved
    assert 1 not in saved
