"""The engine of a run: epochs of steps, each epoch judged, saved and mined after.

An epoch ends in this order: evaluate on dev, save `last` (the point of no return: a run that is
killed later goes on from here), save `best` if it is, mine, write the line of `metrics.jsonl`.
What comes after `last` follows from it, and is done again on resuming where it is missing. All
randomness is a function of (seed, epoch), so a resumed run ends as one that was never killed.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import nn

from cir import __version__
from cir.artefacts.checkpoint import (
    SCHEMA_VERSION,
    Checkpoint,
    CheckpointMetadata,
    read_checkpoint,
    read_trainer,
    save_checkpoint,
)
from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions, TrainConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.errors import CheckpointError, ManifestError
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import evaluate
from cir.mining.offline import mine_manifest
from cir.mining.online import OnlineNegatives
from cir.mining.validity import barred_images
from cir.models.combiner import SumCombiner
from cir.models.composition import composed_queries
from cir.models.trained import BEST, LAST
from cir.progress import PartsOf, Progress
from cir.runtime import seed_all
from cir.spellings import curriculum
from cir.training import runfolder
from cir.training.assembly import Assembly
from cir.training.batches import TrainingRows, draw_batches, training_rows
from cir.training.negatives import (
    Bank,
    NegativeSource,
    Sources,
    manifest_negatives,
    online_negatives,
)
from cir.training.runlog import EpochLosses, EpochMetrics, RunLog, manifest_figures
from cir.training.steps import Place, train_epoch
from cir.training.trackers import updates_made
from cir.training.trainset import SPLIT, TrainSet

PROTOCOL: Final = Protocol(split=SPLIT, gallery="full", reference="kept", captions="joined")
"""How dev is evaluated: among all images of the training split."""

_METRICS: Final = "metrics"
"""Where a checkpoint's trainer state keeps the epoch's figures."""

EpochListener = Callable[[Mapping[str, Any]], None]
"""Told of every line of `metrics.jsonl` as it is written."""


class Engine:
    """One run: its model, its data, and where it has got to."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        embeddings: Embeddings,
        data: TrainSet,
        parts: Assembly,
        progress: Progress,
        on_epoch: EpochListener,
    ) -> None:
        self._config = config
        self._run = config.out
        self._dataset = dataset
        self._store = embeddings
        self._data = data
        self._progress = progress
        self._on_epoch = on_epoch
        self._device = parts.device
        self._workers = parts.workers
        self._trackers = parts.trackers
        self._model = parts.model
        self._learner = parts.learner
        self._images = self._model.image_tower(
            embeddings, dataset, device=self._device, workers=self._workers
        )
        self._texts = self._model.text_tower(embeddings, self._device)
        self._barred = barred_images(
            data.queries,
            embeddings,
            data.mining.duplicate_threshold,
            max_target_similarity=data.mining.max_target_similarity,
            exclude_siblings=data.mining.exclude_siblings,
        )
        self._manifest = data.manifest
        """The negatives that the next epoch trains on."""
        self._current = embeddings
        """The vectors as the model gives them now."""
        self._finished = 0

    def begin(self) -> None:
        """Judges and saves the state before training, as epoch 0."""
        started = time.perf_counter()
        self._log = RunLog(self._run)
        self._trackers.start(self._run, self._config.to_json())
        with self._learner.average.in_place():
            self._conclude(0, None, started)

    def resume(self) -> None:
        """Takes up the last saved epoch, and does again what was cut short after it was saved."""
        last = runfolder.checkpoint(self._run, LAST)
        saved, trainer = read_checkpoint(last), read_trainer(last)
        _require_same_store(saved, self._store)
        self._model.load(saved)
        self._learner.load_state(trainer)
        self._finished = saved.metadata.epoch
        self._log = RunLog(self._run)
        self._log.keep(self._finished + 1)
        updates = updates_made(trainer["optimiser"])
        self._trackers.start(self._run, self._config.to_json(), updates)
        with self._learner.average.in_place():
            if self._finished:
                self._embed()
            concluded = self._log.epochs > self._finished
            mined = runfolder.latest_manifest(self._run, self._finished - (not concluded))
            if mined is not None:
                self._manifest = read_manifest(mined)
            if not concluded:
                self._follow_up(EpochMetrics.from_json(trainer[_METRICS]))

    def run(self) -> None:
        """Trains the epochs that are left."""
        left = range(self._finished + 1, self._config.epochs + 1)
        if not left:
            return
        queries = len(left) * len(self._manifest)
        with self._progress.task("run", queries, "queries") as whole:
            for epoch in left:
                started = time.perf_counter()
                losses = self._train(epoch, PartsOf(whole, self._progress))
                with self._learner.average.in_place():
                    self._embed()
                    self._conclude(epoch, losses, started)

    def _mined_after(self, epoch: int) -> bool:
        """Whether the next epoch trains on negatives of the model as it is after this one."""
        return not self._online and ((epoch > 0 and self._config.remine) or self._new_stage(epoch))

    def _new_stage(self, epoch: int) -> bool:
        """Whether the curriculum wants other negatives after this epoch than those at hand."""
        return self._mining_after(epoch).strategy != self._manifest.metadata.strategy

    def _mining_after(self, epoch: int) -> MiningOptions:
        """How the next epoch's negatives are mined."""
        mining = self._data.mining
        if self._config.curriculum is None:
            return mining
        stages = curriculum(self._config.curriculum)
        return dataclasses.replace(mining, strategy=stages.strategy(epoch + 1))

    @property
    def _online(self) -> bool:
        return self._config.online_top_k is not None

    def _train(self, epoch: int, progress: Progress) -> EpochLosses:
        """One pass over the manifest."""
        config = self._config
        seed_all(config.seed, epoch)
        sources = self._sources()
        batches = draw_batches(
            sources.rows,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            negatives=self._learner.objective.negatives and not self._online,
            row_negatives=config.row_negatives,
        )
        return train_epoch(
            self._learner,
            sources,
            batches,
            images=self._images,
            texts=self._texts,
            place=Place(epoch, config.epochs),
            decodes=self._model.tunes_image,
            on_step=self._trackers.step,
            progress=progress,
        )

    def _sources(self) -> Sources:
        """What the next epoch is trained on and against."""
        rows = training_rows(
            self._manifest,
            self._store.images,
            self._store.captions,
            barred=self._barred,
            answers={query.id: query.target_ids for query in self._data.queries},
        )
        contrastive = self._learner.objective.contrastive
        return Sources(
            rows,
            manifest_negatives if self._config.online_top_k is None else self._search(rows),
            self._bank() if contrastive is not None and contrastive.bank else None,
            self._data.mining.duplicate_threshold,
        )

    def _search(self, rows: TrainingRows) -> NegativeSource:
        """Negatives found while training, among the vectors of now."""
        named = {i for gallery in self._data.galleries.values() for i in gallery}
        ids = [i for i in self._current.images.keys if i in named]
        gallery = OnlineNegatives(
            self._current.images.take(ids),
            self._store.images.rows(ids),
            self._config.online_top_k or 0,
            self._device,
        )
        return online_negatives(gallery, rows)

    def _bank(self) -> Bank:
        """Every target that is trained on, as its vector is now."""
        ids = sorted({query.target_id for query in self._data.queries})
        return Bank(self._current.images.take(ids), self._store.images.rows(ids), self._device)

    def _embed(self) -> None:
        """Brings the current vectors up to date with the model."""
        self._current = self._model.embedded(
            self._store,
            self._dataset,
            [*self._data.queries, *self._data.dev],
            self._data.galleries,
            workers=self._workers,
            progress=self._progress,
        )

    def _conclude(self, epoch: int, losses: EpochLosses | None, started: float) -> None:
        """Judges and saves an epoch: from here on it counts."""
        dev = self._evaluate(self._model.combiner, "combiner")
        seconds = time.perf_counter() - started
        metrics = EpochMetrics(epoch, losses, seconds, dev, manifest=None)
        self._save(LAST, metrics)
        self._follow_up(metrics)

    def _follow_up(self, metrics: EpochMetrics) -> None:
        """What follows from a saved epoch: the best checkpoint, the next manifest, the line."""
        started = time.perf_counter()
        if metrics.dev["headline"] > self._log.best_headline():
            self._save(BEST, metrics)
        mined = self._next_manifest(metrics.epoch)
        plain = self._evaluate(SumCombiner(), "sum") if metrics.epoch == 0 else None
        self._log.append(
            dataclasses.replace(
                metrics,
                seconds=metrics.seconds + time.perf_counter() - started,
                manifest=manifest_figures(self._manifest) if mined else None,
                sum=plain,
            )
        )
        self._finished = metrics.epoch
        self._trackers.epoch(self._log.lines[-1])
        self._on_epoch(self._log.lines[-1])

    def _next_manifest(self, epoch: int) -> bool:
        """Writes the manifest of the next epoch where it is a new one; the first always is."""
        if self._mined_after(epoch):
            self._manifest = self._mine(epoch)
        elif epoch:
            return False
        write_manifest(self._manifest, runfolder.manifest_file(self._run, epoch))
        return True

    def _mine(self, epoch: int) -> Manifest:
        queries = self._data.queries
        texts = [joined(query.captions) for query in queries]
        mined = mine_manifest(
            queries,
            self._current,
            self._data.galleries,
            composed_queries(queries, texts, self._current, self._model.combiner, self._device),
            self._mining_after(epoch),
            query="combiner",
            split=SPLIT,
            epoch=epoch,
            checkpoint_sha256=read_checkpoint(runfolder.checkpoint(self._run, LAST)).sha256,
            device=self._device,
            progress=self._progress,
        )
        if not len(mined):
            raise ManifestError(
                f"mining after epoch {epoch} dropped every query as starved: mine the first "
                f"manifest with --on-starved nearest or random, or pass --no-remine"
            )
        return dataclasses.replace(
            mined, metadata=dataclasses.replace(mined.metadata, curriculum=self._config.curriculum)
        )

    def _evaluate(self, combiner: nn.Module, query: str) -> dict[str, float]:
        found = evaluate(
            self._data.dev,
            self._data.galleries,
            self._current,
            combiner.to(self._device),
            PROTOCOL,
            query=query,
            device=self._device,
        )
        return found.figures()

    def _save(self, name: str, metrics: EpochMetrics) -> None:
        config, store = self._config, self._store
        save_checkpoint(
            runfolder.checkpoint(self._run, name),
            combiner=self._model.combiner.state_dict(),
            clip=self._model.clip_state(),
            trainer={**self._learner.state(), _METRICS: metrics.to_json()},
            metadata=CheckpointMetadata(
                schema_version=SCHEMA_VERSION,
                cir_version=__version__,
                combiner=config.combiner,
                dim=store.provenance.embed_dim,
                hidden=config.hidden,
                tune=config.tune,
                epoch=metrics.epoch,
                provenance=store.provenance,
                embeddings_sha256=store.sha256,
                dev=dict(metrics.dev),
                config=config.to_json(),
            ),
        )


def _require_same_store(saved: Checkpoint, embeddings: Embeddings) -> None:
    if saved.metadata.embeddings_sha256 != embeddings.sha256:
        raise CheckpointError(
            f"{saved.folder} was trained on a store with another SHA-256 than {embeddings.path}: "
            f"pass the store of the run, or train again with --overwrite"
        )
