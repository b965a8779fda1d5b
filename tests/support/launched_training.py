"""Trains in processes that a launcher started.

torchrun -m tests.support.launched_training DATASET FOLDER
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest import mock

from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.errors import CirError, ImageError, StoppedError
from cir.machine.processes import ALONE, Processes, together
from cir.training.step import Learner
from cir.training.train import train
from tests.support.micro import micro_encoder
from tests.support.mined import random_manifest
from tests.support.runs import config_of, encoded_by, tower_rate

ASKED: Final[dict[str, dict[str, Any]]] = {
    "combiner": {"combiner": "gated-sum", "dropout": 0.5, "online_top_k": 4},
    "terms": {
        "combiner": "gated-sum",
        "dropout": 0.3,
        "loss": "0.5*triplet+contrastive",
        "contrast": "batch+mined+reference",
        "other_targets": "positive",
        "learn_temperature": True,
        "ema": 0.8,
    },
    "trust": {"combiner": "gated-sum", "weighting": "trust", "guide_threshold": 0.2},
    "hardness": {"combiner": "gated-sum", "weighting": "hardness", "loss": "contrastive"},
    "text": {"combiner": "gated-sum", "tune": "text", "encode_batch": 3},
    "image": {"tune": "image", "encode_batch": 5, "online_top_k": 4},
}
"""Settings by the name of the run that is trained with them."""
STOPPED: Final = "stopped"
"""A run as `terms` that process 1 is asked to stop in, and that is gone on with."""
BROKEN: Final = "broken"
"""A run in which process 1 cannot read an image."""


def trained(
    dataset: Dataset, out: Path, processes: Processes = ALONE, **settings: Any
) -> list[dict[str, Any]]:
    """Trains a run of a micro encoder's vectors; the figures of its epochs as they were told."""
    told: list[dict[str, Any]] = []
    embeddings = _encoded(dataset.root)
    with mock.patch("cir.encoding.loading.load_encoder", _micro):
        train(
            config_of(out, **tower_rate(1e-3, **settings), **settings),
            dataset,
            embeddings,
            random_manifest(dataset, embeddings),
            on_epoch=told.append,
            processes=processes,
        )
    return told


def _micro(*_: object, **__: object) -> Encoder:
    return micro_encoder()


@cache
def _encoded(root: Path) -> Embeddings:
    return encoded_by(micro_encoder(), Dataset(root))


def _once(number: int, what: Callable[[], None]) -> Any:
    """`Learner.update`, which does something else as well at its `number`-th call."""
    update, calls = Learner.update, iter(range(1, 1_000_000))

    def counted(learner: Learner, done: float) -> float:
        if next(calls) == number:
            what()
        return update(learner, done)

    return mock.patch.object(Learner, "update", counted)


def _stopped(dataset: Dataset, out: Path, processes: Processes) -> None:
    """Stopped within the second epoch by a signal to process 1, then gone on with."""
    ask = (lambda: os.kill(os.getpid(), signal.SIGTERM)) if processes.rank else (lambda: None)
    try:
        with _once(5, ask):
            trained(dataset, out, processes, **ASKED["terms"])
    except StoppedError as stopped:
        _say(f"process {processes.rank} {stopped}")
    trained(dataset, out, processes, resume=True, **ASKED["terms"])


def _broken(dataset: Dataset, out: Path, processes: Processes) -> None:
    """Each process says what ended it."""

    def refuse(*_: object, **__: object) -> None:
        raise ImageError("a photo is broken")

    name = f"cir.data.image_batches.{'decode_image' if processes.rank else 'no_name'}"
    try:
        with processes.fail_together(), mock.patch(name, refuse, create=True):
            trained(dataset, out, processes, tune="image", epochs=1)
    except CirError as error:
        _say(f"process {processes.rank} ended: {error}")


def _say(line: str) -> None:
    """In one piece, so that the lines of two processes do not mix."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def main(dataset: Dataset, folder: Path) -> None:
    with together() as processes:
        for name, settings in ASKED.items():
            trained(dataset, folder / name, processes, **settings)
        _stopped(dataset, folder / STOPPED, processes)
        _broken(dataset, folder / BROKEN, processes)


if __name__ == "__main__":
    main(Dataset(Path(sys.argv[1])), Path(sys.argv[2]))
