"""A pilot before mining: each way to draw from the band trains a little, held-out queries judge.

Where unlabelled images answer a query, the top of its band is full of them, and a model that is
pushed away from it unlearns; where answers are few, the top is where most is to be learned. The
vectors alone do not tell which it is: the pilot tries it out on frozen vectors, in seconds.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import torch
from torch import nn

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_metadata import Pilot, PilotArm
from cir.artefacts.store import Embeddings
from cir.config import Device, MiningOptions, TrainConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.errors import DatasetError, ManifestError, TrainingError
from cir.evaluation.protocol import standard_protocol
from cir.machine.processes import ALONE
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest, prepare_mining
from cir.models.composition import composed_queries
from cir.progress import SILENT
from cir.training import run_folder
from cir.training.hold_out import hold_out
from cir.training.signals import StopRequest
from cir.training.train_data import SPLIT, TrainSet
from cir.training.trainer import Trainer
from cir.types import Sampling

ARMS: Final[Sequence[tuple[Sampling, float]]] = (
    ("top", 0.05),
    ("softmax", 0.02),
    ("softmax", 0.05),
    ("softmax", 0.1),
    ("random", 0.05),
)
"""Sampling and temperature, from the top of the band to all of it."""
MOST_QUERIES: Final = 4000
"""Queries of a pilot; of more, a sample of references takes part."""
FEWEST_DEV: Final = 100
"""Held-out queries below which a pilot would draw lots."""
WITHOUT_PILOT: Final[Sampling] = "random"
"""The sampling where queries are too few: it was best on most data that were tried."""
EPOCHS: Final = 4
_DEV: Final = 0.4
"""Share of the references that judge."""


class SamplingPilot:
    """Trains the same small run once for each arm; all else is the same."""

    def __init__(
        self,
        dataset: Dataset,
        embeddings: Embeddings,
        queries: Sequence[Query],
        galleries: Mapping[str, Sequence[str]],
        combiner: nn.Module,
        machine: Machine,
    ) -> None:
        """Keeps the inputs.

        Args:
            dataset: Is asked for no file while vectors are frozen.
            embeddings: Vectors of every image and caption.
            queries: Those to be mined.
            galleries: Image ids by category.
            combiner: Composes the queries of the first negatives, as mining will.
            machine: How arms are mined, by one process, and where they train; its progress shows
                each epoch's queries.
        """
        self._dataset = dataset
        self._embeddings = embeddings
        self._queries = queries
        self._galleries = galleries
        self._combiner = combiner
        self._machine = dataclasses.replace(machine, processes=ALONE)

    def run(self, options: MiningOptions) -> Pilot | None:
        """Tries the arms; None where there are too few queries to judge by, or none can train.

        Args:
            options: How to mine, but for sampling and temperature.
        """
        parts = _parts(self._queries, options.seed)
        if parts is None:
            return None
        train, dev = parts
        # Training moves the queries, so that bands starve which do not when mining begins.
        options = dataclasses.replace(options, on_starved="nearest")
        mined = self._miner(train, options)
        arms = []
        for sampling, temperature in ARMS:
            tried = dataclasses.replace(options, sampling=sampling, temperature=temperature)
            recall = self._recall(train, dev, mined(tried), tried)
            if recall is not None:
                arms.append(PilotArm(sampling, temperature, recall))
        return Pilot(tuple(arms), len(train), len(dev), EPOCHS) if arms else None

    def _miner(
        self, train: Sequence[Query], options: MiningOptions
    ) -> Callable[[MiningOptions], Manifest]:
        """Mines the queries of `train` for an arm; made once is what all arms share."""
        texts = [joined(query.captions) for query in train]
        machine = dataclasses.replace(self._machine, progress=SILENT)
        vectors = composed_queries(train, texts, self._embeddings, self._combiner, machine.device)
        prepared = prepare_mining(train, self._embeddings, self._galleries, options, machine)
        return lambda tried: mine_manifest(
            train,
            self._embeddings,
            self._galleries,
            vectors,
            tried,
            ManifestRecord("sum", SPLIT),
            machine,
            prepared,
        )

    def _recall(
        self,
        train: Sequence[Query],
        dev: Sequence[Query],
        manifest: Manifest,
        options: MiningOptions,
    ) -> float | None:
        """The best R@10 on `dev` after any epoch of training on `train`, in percent.

        None where filters leave no query a negative, at first or after an epoch, or it diverges.
        """
        if not len(manifest):
            return None
        mined = set(manifest.query_ids)
        queries = tuple(query for query in train if query.id in mined)
        protocol = standard_protocol(self._dataset.form, SPLIT)
        data = TrainSet(queries, tuple(dev), protocol, self._galleries, manifest, options)
        with TemporaryDirectory() as folder:
            recipe = _recipe(Path(folder) / "run", options.seed, self._machine.device)
            try:
                epochs = self._trained(data, recipe)
            except (ManifestError, TrainingError):
                return None
        return max(float(line["dev"]["R@10"]) for line in epochs[1:])

    def _trained(self, data: TrainSet, config: TrainConfig) -> list[Mapping[str, Any]]:
        """The figures of every epoch of a run."""
        lines: list[Mapping[str, Any]] = []
        trainer = Trainer(
            config,
            data,
            processes=ALONE,
            progress=self._machine.progress,
            on_epoch=lines.append,
            block_size=self._machine.block_size,
        )
        trainer.setup(self._dataset, self._embeddings)
        run_folder.make(config.out, config.to_json())
        with trainer:
            trainer.begin()
            trainer.train(StopRequest(config.out, ALONE))
        return lines


def _recipe(run: Path, seed: int, device: torch.device) -> TrainConfig:
    """The triplet loss alone: other terms hide which negatives a model was given."""
    return TrainConfig(
        out=run,
        combiner="attention-fusion",
        loss="triplet",
        tune="none",
        epochs=EPOCHS,
        batch_size=128,
        tracker=("none",),
        seed=seed,
        device=cast(Device, device.type),
    )


def _parts(queries: Sequence[Query], seed: int) -> tuple[list[Query], list[Query]] | None:
    """Queries to train on and to judge by, cut by reference; None where they are too few."""
    try:
        train, dev = hold_out(_sample(queries, seed), _DEV, seed)
    except DatasetError:
        return None
    return (train, dev) if len(dev) >= FEWEST_DEV else None


def _sample(queries: Sequence[Query], seed: int) -> Sequence[Query]:
    """The queries of some references, about `MOST_QUERIES` of more."""
    if len(queries) <= MOST_QUERIES:
        return queries
    try:
        return hold_out(queries, MOST_QUERIES / len(queries), seed)[1]
    except DatasetError:
        return queries  # so few more that the share of every category rounds to all of it
