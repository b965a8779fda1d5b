"""Runs on small worlds, and what is left of them."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from cir.artefacts.checkpoint import read_checkpoint, read_trainer
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.machine.processes import ALONE, Processes
from cir.names import METRICS_FILE
from cir.training import checkpoints, dev, remining, trainer
from cir.training.step import Learner
from cir.training.train import train
from pipeline.command.flags import flag
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings

EPOCHS = 2
SETTINGS = {
    "epochs": EPOCHS,
    "batch_size": 8,
    "hidden": 8,
    "dev_fraction": 0.25,
    "device": "cpu",
    "workers": 0,
    "learning_rate": 1e-2,
}

STAGES = {
    "train_epoch": trainer,
    "recalls": dev,
    "save_checkpoint": checkpoints,
    "mine_manifest": remining,
    "write_manifest": trainer,
}
"""What is called at each stage of an epoch, and where from."""


class Killed(BaseException):
    """Stands for a signal: nothing may catch it."""


def tower_rate(rate: float, tune: str = "none", **_: object) -> dict[str, float]:
    """The setting of the towers' rate, which is refused where no tower is tuned."""
    return {} if tune == "none" else {"clip_learning_rate": rate}


def fusion(changes: dict[str, object]) -> dict[str, object]:
    """Settings of an attention-fusion; its contrastive term, where it has one, is the batch's."""
    plain = {"contrast": "batch", "other_targets": "ignored"}
    contrasts = "contrastive" in str(changes.get("loss", "contrastive"))
    return {"combiner": "attention-fusion"} | (plain if contrasts else {}) | changes


def config_of(out: Path, **changes: object) -> TrainConfig:
    return TrainConfig(**SETTINGS | {"out": out} | changes)


def fusion_config(out: Path, **changes: object) -> TrainConfig:
    return config_of(out, **fusion(changes))


def encoded_by(encoder: Encoder, dataset: Dataset) -> Embeddings:
    """The vectors that an encoder gives, under its provenance."""
    drawn = random_embeddings(dataset)
    files = [dataset.image_path(image_id) for image_id in drawn.images.keys]
    images = image_vectors(encoder, files, batch_size=64, workers=0)
    captions = caption_vectors(encoder, drawn.captions.keys, batch_size=64)
    return dataclasses.replace(
        drawn,
        images=VectorTable(drawn.images.keys, images),
        captions=VectorTable(drawn.captions.keys, captions),
        provenance=encoder.provenance,
    )


def command_of(files: Mapping[str, Path], out: Path, **changes: object) -> list[str]:
    """`cir train` of a run as `config_of` has it, after `cir`."""
    given = {name: value for name, value in changes.items() if not isinstance(value, bool)}
    switches = [flag(name) for name, value in changes.items() if value is True]
    settings = {**SETTINGS, **files, "out": out, **given}
    return ["train", *(f"{flag(n)}={v}" for n, v in settings.items()), *switches]


def run(
    out: Path,
    dataset: Dataset,
    embeddings: Embeddings,
    on_epoch: Callable[[dict], None] = lambda line: None,
    processes: Processes = ALONE,
    **changes: object,
) -> Path:
    return train(
        config_of(out, **changes),
        dataset,
        embeddings,
        random_manifest(dataset, embeddings),
        on_epoch=on_epoch,
        processes=processes,
    )


def metrics(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / METRICS_FILE).read_text().splitlines()]


def fusion_metrics(
    out: Path, dataset: Dataset, embeddings: Embeddings, **changes: object
) -> list[dict[str, object]]:
    """Trains an attention-fusion; the lines of metrics.jsonl."""
    run(out, dataset, embeddings, **fusion(changes))
    return metrics(out)


def state(out: Path) -> dict[str, bytes]:
    """The bytes of everything that a run's settings determine."""
    kept = {}
    for file in sorted(out.rglob("*")):
        if file.suffix in (".safetensors", ".parquet"):
            kept[str(file.relative_to(out))] = file.read_bytes()
    return kept


def hidden(out: Path) -> set[str]:
    """The names in a run folder that begin with a dot: its markers, and what should not be left."""
    return {file.name for file in out.rglob(".*")}


def optimiser(out: Path) -> dict[int, dict[str, torch.Tensor]]:
    return read_trainer(out / "checkpoints/last")["optimiser"]["state"]


def weights(out: Path, epoch: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(out / "checkpoints" / epoch)
    return checkpoint.combiner | {f"clip.{n}": t for n, t in (checkpoint.clip or {}).items()}


def killed_after(epoch: int) -> Callable[[dict], None]:
    def on_epoch(line):
        if line["epoch"] == epoch:
            raise Killed

    return on_epoch


class Fuse:
    """Calls through until it is lit, then kills at the `number`-th call."""

    def __init__(self, call: Callable, number: int) -> None:
        self._call, self._left, self._lit = call, number, False

    def light(self, epoch: int, line: dict) -> None:
        self._lit = self._lit or line["epoch"] >= epoch

    def __call__(self, *args: object, **kwargs: object) -> object:
        self._left -= self._lit
        if self._lit and self._left <= 0:
            raise Killed
        return self._call(*args, **kwargs)


def assert_same(straight: Path, other: Path) -> None:
    """Both runs ended with the same weights, manifests and figures, bit for bit."""
    assert (straight / METRICS_FILE).read_bytes() == (other / METRICS_FILE).read_bytes()
    assert state(straight) == state(other)
    for ours, theirs in zip(optimiser(straight).values(), optimiser(other).values(), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def saved_at(out: Path) -> tuple[int, int]:
    """The epochs that are finished in `last`, and the steps of the next one."""
    metadata = read_checkpoint(out / "checkpoints/last").metadata
    return metadata.epoch, metadata.step


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


def killing() -> None:
    raise Killed
