"""Trackers: what TensorBoard gets of steps and epochs, and how Weights & Biases is asked for."""

import importlib.machinery
import sys
import types
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cir.config import TrainConfig
from cir.errors import CirError, ConfigError, UsageError
from cir.training import trackers
from cir.training.builders import build_accelerator
from cir.training.trackers import Trackers, updates_made

CPU = torch.device("cpu")


def opened(run: Path, *names: str, every: int = 2, updates: int = 0):
    accelerator = build_accelerator(run, CPU, "fp32")
    made = Trackers(accelerator, names, every)
    made.start(run, {"epochs": 2}, updates)
    return accelerator, made


def told(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in tags}


def test_every_second_step_and_every_epoch_over_the_updates(tmp_path):
    accelerator, made = opened(tmp_path, "tensorboard")
    for step in range(1, 6):
        made.step({"total": float(step), "triplet": None, "rates": {"combiner": 0.5}})
    made.epoch({"epoch": 1, "dev": {"R@10": 40.0}, "stage": "hard", "loss": None})
    accelerator.end_training()
    assert told(tmp_path) == {
        "step/total": [(2, 2.0), (4, 4.0)],
        "step/rates/combiner": [(2, 0.5), (4, 0.5)],
        "epoch/epoch": [(5, 1.0)],
        "epoch/dev/R@10": [(5, 40.0)],
    }


def test_a_resumed_run_tells_no_step_twice(tmp_path):
    for updates in (0, 2):
        accelerator, made = opened(tmp_path, "tensorboard", every=1, updates=updates)
        for _ in range(4 - updates):
            made.step({"total": float(updates)})
        accelerator.end_training()
    assert told(tmp_path)["step/total"] == [(1, 0.0), (2, 0.0), (3, 2.0), (4, 2.0)]


def test_updates_are_counted_by_the_optimiser():
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([weight])
    assert updates_made(optimiser.state_dict()) == 0
    for _ in range(3):
        weight.grad = torch.ones(2)
        optimiser.step()
    assert updates_made(optimiser.state_dict()) == 3


def test_no_tracker_leaves_no_trace(tmp_path):
    accelerator, made = opened(tmp_path)
    made.step({"total": 1.0})
    made.step({"total": 1.0})
    made.epoch({"epoch": 1})
    accelerator.end_training()
    assert not any(tmp_path.iterdir())


class Stub(types.ModuleType):
    """Stands for the package wandb: remembers what it is asked."""

    def __init__(self, *, account: bool = True) -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.account, self.asked, self.logged, self.finished = account, [], [], 0

    def login(self) -> None:
        if not self.account:
            raise NoAccountError("No API key configured.")

    def init(self, **options):
        self.asked.append(options)
        return self

    def log(self, values, step=None, **_):
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


class NoAccountError(Exception):
    __module__ = "wandb.errors"


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return stub


def test_weights_and_biases_goes_on_with_the_same_run(tmp_path, wandb):
    for updates in (0, 2):
        accelerator, made = opened(tmp_path / "night", "wandb", updates=updates)
        made.step({"total": 1.0})
        made.step({"total": 2.0})
        accelerator.end_training()
    first, second = wandb.asked
    assert first == second
    assert first["project"] == "cir"
    assert first["name"] == "night"
    assert first["dir"] == str(tmp_path / "night")
    assert first["resume"] == "allow"
    assert first["config"] == {"epochs": 2}
    assert wandb.logged == [(2, {"step/total": 2.0}), (4, {"step/total": 2.0})]
    assert wandb.finished == 2


def test_without_the_package_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed; run pip install 'cir\[wandb\]'"):
        opened(tmp_path / "run", "wandb")
    assert not (tmp_path / "run").exists()


def test_without_an_account_nothing_begins_unless_offline(tmp_path, wandb, monkeypatch):
    wandb.account = False
    with pytest.raises(UsageError, match=r"No API key configured\. Set WANDB_API_KEY"):
        opened(tmp_path / "run", "wandb")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WANDB_MODE", "offline")
    opened(tmp_path / "run", "wandb")[0].end_training()
    assert len(wandb.asked) == 1


def test_wrong_trackers_are_told_together():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(tracker=("none", "wand", "wandb"), log_every=0)
    for fault in ("`tracker` is 'wand'", "`tracker='none'` excludes", "`log_every` is 0"):
        assert fault in str(caught.value)
    assert TrainConfig(tracker=("wandb",)).to_json()["tracker"] == ["wandb"]


def test_a_full_disk_under_tensorboard_is_one_line(tmp_path, monkeypatch):
    accelerator, made = opened(tmp_path, "tensorboard", every=1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(accelerator, "log", full)
        for tell in (lambda: made.step({"total": 1.0}), lambda: made.epoch({"epoch": 1})):
            with pytest.raises(
                CirError, match=r"for tensorboard .*No space left .*`tracker='none'"
            ):
                tell()
    accelerator.end_training()
