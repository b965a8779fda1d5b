"""How runs survive: killed anywhere, asked to stop, out of space, gone astray."""

import shutil
from functools import partial

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.errors import TrainingError
from cir.training import engine, saving
from cir.training import model as model_module
from tests.micro import micro_encoder
from tests.training.runs import (
    Fuse,
    Killed,
    assert_same,
    killed_after,
    run,
    state,
    weights,
)


def test_a_resumed_run_ends_as_one_never_killed(tmp_path, straight, dataset, embeddings):
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, embeddings, killed_after(1))
    run(killed, dataset, embeddings, resume=True)
    assert_same(straight, killed)


STAGES = {
    "train_epoch": engine,
    "evaluate": engine,
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
    monkeypatch.setattr(model_module, "load_encoder", lambda *_, **__: micro_encoder())
    changes |= {"epochs": 2, "clip_learning_rate": 1e-3}
    straight = run(tmp_path / "straight", dataset, encoded, **changes)
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        run(killed, dataset, encoded, killed_after(1), **changes)
    run(killed, dataset, encoded, resume=True, **changes)
    assert_same(straight, killed)


@pytest.mark.parametrize("stage", ["evaluate", "mine_manifest", "write_manifest"])
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


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, dataset, embeddings):
    out = tmp_path / "run"
    with pytest.raises(TrainingError) as stopped:
        run(out, dataset, embeddings, learning_rate=1e30)
    message = str(stopped.value)
    assert "\n" not in message
    assert "epoch 1, step 2" in message
    batch = message.partition("the batch was ")[2].split(", ")
    assert set(batch) <= {query.id for query in dataset.queries("train")}
    assert read_checkpoint(out / "checkpoints/last").metadata.epoch == 0
    assert all(t.isfinite().all() for t in weights(out).values())
