"""The engine of a run: epochs of steps, each epoch judged, saved and mined after.

An epoch ends in this order: evaluate on dev, save `last` (the point of no return: a run that is
killed later goes on from here), save `best` if it is, mine, write the line of `metrics.jsonl`.
What comes after `last` follows from it, and is done again on resuming where it is missing. Within
an epoch `last` is saved every few minutes, and when the run is asked to stop. All randomness is a
function of (seed, epoch, step), so a resumed run ends as one that was never killed.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from torch import nn

from cir.artefacts.manifest import Manifest, read_manifest, write_manifest
from cir.artefacts.store import Embeddings
from cir.config import MiningOptions, TrainConfig
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.errors import ManifestError, StoppedError, UsageError
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import recalls
from cir.mining.manifest import PreparedMining, mine_manifest, prepare_mining
from cir.mining.online import OnlineNegatives
from cir.mining.exclusions.rules import excluded_images
from cir.models.combiner import SumCombiner
from cir.models.composition import composed_queries
from cir.models.composer import BEST, LAST
from cir.processes import Processes
from cir.progress import PartsOf, Progress
from cir.spellings import curriculum
from cir.training import run_folder
from cir.training.assembly import Assembly
from cir.training.batches import Batch, TrainingRows, draw_batches, training_rows
from cir.training.clock import Clock
from cir.training.candidates import (
    Bank,
    NegativeSource,
    Sources,
    manifest_negatives,
    online_negatives,
)
from cir.training.metrics_log import EpochLosses, EpochMetrics, RunLog, manifest_figures
from cir.training.checkpoints import Checkpoints, ResumeState
from cir.training.epoch import Place, EpochProgress, train_epoch
from cir.training.signals import StopRequest
from cir.training.train_data import SPLIT, TrainSet

PROTOCOL: Final = Protocol(split=SPLIT, gallery="full", reference="kept", captions="joined")
"""How dev is evaluated: among all images of the training split."""

EpochListener = Callable[[Mapping[str, Any]], None]
"""Told of every line of `metrics.jsonl` as it is written, with its seconds of `times.jsonl`."""


class Engine:
    """One run: its model, its data, and where it has got to."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        embeddings: Embeddings,
        data: TrainSet,
        parts: Assembly,
        wish: StopRequest,
        progress: Progress,
        on_epoch: EpochListener,
        processes: Processes,
    ) -> None:
        self._config = config
        self._run = config.out
        self._dataset = dataset
        self._store = embeddings
        self._data = data
        self._wish = wish
        self._progress = progress
        self._on_epoch = on_epoch
        self._processes = processes
        self._device = parts.device
        self._workers = parts.workers
        self._trackers = parts.trackers
        self._model = parts.model
        self._learner = parts.learner
        self._checkpoints = Checkpoints(config, embeddings, parts.model, parts.learner, processes)
        self._images = self._model.image_tower(
            embeddings, dataset, device=self._device, workers=self._workers
        )
        self._texts = self._model.text_tower(embeddings, self._device)
        excluded = excluded_images(
            data.queries,
            embeddings,
            data.mining.duplicate_threshold,
            max_target_similarity=data.mining.max_target_similarity,
            exclude_siblings=data.mining.exclude_siblings,
        )
        self._barred = {query.id: excluded.of(row) for row, query in enumerate(data.queries)}
        self._evaluator = Evaluator(
            data.dev, data.galleries, embeddings, [PROTOCOL], device=self._device
        )
        self._ground: PreparedMining | None = None
        """What the last mining began with."""
        self._manifest = data.manifest
        """The negatives that the next epoch trains on."""
        self._current = embeddings
        """The vectors as the model gave them at the end of the last epoch."""
        self._finished = 0
        self._reached: EpochProgress | None = None
        """How far the epoch after the finished ones has come, where it was interrupted."""
        self._clock = Clock()
        self._saved = time.monotonic()

    def begin(self) -> None:
        """Judges and saves the state before training, as epoch 0."""
        self._log = RunLog(self._run)
        self._trackers.start(self._run, self._config.to_json())
        with self._learner.average.in_place():
            self._conclude(0, None)

    def resume(self) -> None:
        """Takes up what was saved last, and does again what was cut short after it was saved."""
        standing, updates = self._checkpoints.restore()
        self._finished, self._clock = standing.epoch, Clock(standing.took)
        self._log = RunLog(self._run)
        if self._processes.main:
            self._log.keep(self._finished + 1)
        self._trackers.start(self._run, self._config.to_json(), updates)
        concluded = self._processes.broadcast_from_main(lambda: self._log.epochs > self._finished)
        self._manifest = self._processes.broadcast_from_main(
            partial(self._mined_last, self._finished - (not concluded))
        )
        if standing.reached is not None:
            self._reached = standing.reached
            if standing.gallery is not None:
                self._current = dataclasses.replace(self._store, images=standing.gallery)
            return
        with self._learner.average.in_place():
            if self._finished:
                self._embed(self._finished)
            if standing.metrics is not None and not concluded:
                self._follow_up(standing.metrics)

    def run(self) -> None:
        """Trains the epochs that are left."""
        left = range(self._finished + 1, self._config.epochs + 1)
        if not left:
            return
        done = self._reached.means.queries if self._reached else 0
        queries = len(left) * len(self._manifest) - done
        with self._progress.task("run", queries, "queries") as whole:
            for epoch in left:
                losses = self._train(epoch, PartsOf(whole, self._progress))
                with self._learner.average.in_place():
                    self._embed(epoch)
                    self._conclude(epoch, losses)

    def _mined_last(self, epoch: int) -> Manifest:
        """The manifest mined last, after `epoch` or before."""
        mined = run_folder.latest_manifest(self._run, epoch)
        return self._data.manifest if mined is None else read_manifest(mined)

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
        """One pass over the manifest, or what is left of it."""
        config, reached, self._reached = self._config, self._reached, None
        if reached is None:
            self._clock = Clock()
        sources = self._sources()
        batches = draw_batches(
            sources.rows,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            negatives=self._learner.objective.negatives and not self._online,
            row_negatives=config.row_negatives,
        )
        self._require_parts(batches)
        with self._clock.part("train"), self._wish.waiting():
            return train_epoch(
                self._learner,
                sources,
                batches,
                images=self._images,
                texts=self._texts,
                place=Place(epoch, config.epochs, config.seed),
                reached=reached,
                decodes=self._model.tunes_image,
                on_step=self._trackers.step,
                between=partial(self._between, epoch, len(batches)),
                progress=progress,
                processes=self._processes,
            )

    def _require_parts(self, batches: list[Batch]) -> None:
        """Raises UsageError unless every process has a part of every batch."""
        smallest, count = min(map(len, batches)), self._processes.count
        if smallest < count:
            raise UsageError(
                f"--batch-size {self._config.batch_size} gives batches of {smallest} queries; "
                f"expected at least {count}, one for each process"
            )

    def _between(self, epoch: int, steps: int, reached: EpochProgress) -> None:
        """Saves within an epoch where it is time to, and stops where that is asked for."""
        sent = self._wish.agreed()
        due = time.monotonic() - self._saved >= 60 * self._config.save_minutes
        if reached.step and (sent or (due and reached.step < steps)):
            self._save_within(epoch, reached)
        if sent:
            raise StoppedError(
                sent,
                f"stopped by {sent.name} at epoch {epoch}, step {reached.step} of {steps}; saved "
                f"in {run_folder.checkpoint(self._run, LAST)}: go on with --resume",
            )

    def _save_within(self, epoch: int, reached: EpochProgress) -> None:
        took = self._clock.seconds()
        gallery = self._current.images if self._trains_against_tuned_images else None
        standing = ResumeState(epoch - 1, took, reached=reached, gallery=gallery)
        with self._learner.average.in_place():
            self._checkpoints.save(LAST, standing)
        self._saved = time.monotonic()

    @property
    def _trains_against_tuned_images(self) -> bool:
        """Whether steps use the vectors that the model gave of images when the epoch began."""
        return self._model.tunes_image and (self._online or self._banked)

    @property
    def _banked(self) -> bool:
        contrastive = self._learner.objective.contrastive
        return contrastive is not None and contrastive.bank

    def _sources(self) -> Sources:
        """What the next epoch is trained on and against."""
        rows = training_rows(
            self._manifest,
            self._store.images,
            self._store.captions,
            barred=self._barred,
            answers={query.id: query.target_ids for query in self._data.queries},
        )
        return Sources(
            rows,
            self._search(rows) if self._online else manifest_negatives,
            self._bank() if self._banked else None,
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

    def _embed(self, epoch: int) -> None:
        """Brings the current vectors up to date with the model: what is judged, and mined with."""
        if self._model.encoder is None:
            return
        mined = self._data.queries if self._mined_after(epoch) else ()
        with self._clock.part("embed"):
            self._current = self._processes.broadcast_from_main(
                lambda: self._model.embedded(
                    self._store,
                    self._dataset,
                    [*mined, *self._data.dev],
                    self._data.galleries,
                    workers=self._workers,
                    progress=self._progress,
                )
            )

    def _conclude(self, epoch: int, losses: EpochLosses | None) -> None:
        """Judges and saves an epoch: from here on it counts."""
        dev = self._evaluate(self._model.combiner, "combiner")
        metrics = EpochMetrics(epoch, losses, dev, manifest=None)
        self._checkpoints.save(LAST, self._concluding(metrics))
        self._saved = time.monotonic()
        self._follow_up(metrics)

    def _concluding(self, metrics: EpochMetrics) -> ResumeState:
        return ResumeState(metrics.epoch, self._clock.seconds(), metrics)

    def _follow_up(self, metrics: EpochMetrics) -> None:
        """What follows from a saved epoch: the best checkpoint, the next manifest, the line."""
        if metrics.dev["headline"] > self._log.best_headline():
            self._checkpoints.save(BEST, self._concluding(metrics))
        mined = self._next_manifest(metrics.epoch)
        plain = self._evaluate(SumCombiner(), "sum") if metrics.epoch == 0 else None
        figures = manifest_figures(self._manifest) if mined else None
        self._finished = metrics.epoch
        if self._processes.main:
            self._tell(dataclasses.replace(metrics, manifest=figures, sum=plain))

    def _tell(self, metrics: EpochMetrics) -> None:
        """Writes the epoch's line, and tells who listens."""
        self._log.append(metrics, self._clock.seconds())
        line = self._log.lines[-1]
        self._trackers.epoch(line)
        self._on_epoch(line)

    def _next_manifest(self, epoch: int) -> bool:
        """Writes the manifest of the next epoch where it is a new one; the first always is."""
        if self._mined_after(epoch):
            with self._clock.part("mine"):
                self._manifest = self._mine(epoch)
        elif epoch:
            return False
        if self._processes.main:
            write_manifest(self._manifest, run_folder.manifest_file(self._run, epoch))
        return True

    def _mine(self, epoch: int) -> Manifest:
        queries = self._data.queries
        texts = [joined(query.captions) for query in queries]
        combiner, current = self._model.combiner, self._current
        mined = mine_manifest(
            queries,
            current,
            self._data.galleries,
            # Composed once: processors may differ in the last bits of a combiner's products.
            self._processes.broadcast_from_main(
                lambda: composed_queries(queries, texts, current, combiner, self._device)
            ),
            self._mining_after(epoch),
            query="combiner",
            split=SPLIT,
            epoch=epoch,
            checkpoint_sha256=self._checkpoints.last_sha256(),
            device=self._device,
            progress=self._progress,
            processes=self._processes,
            prepared=self._mining_ground(),
        )
        if not len(mined):
            raise ManifestError(
                f"mining after epoch {epoch} dropped every query as starved: mine the first "
                f"manifest with --on-starved nearest or random, or pass --no-remine"
            )
        return dataclasses.replace(
            mined, metadata=dataclasses.replace(mined.metadata, curriculum=self._config.curriculum)
        )

    def _mining_ground(self) -> PreparedMining:
        """Of the current images: found once, and again after each epoch that moves them."""
        if self._ground is None or self._model.tunes_image:
            self._ground = prepare_mining(
                self._data.queries,
                self._current,
                self._data.galleries,
                self._data.mining,
                self._processes,
            )
        return self._ground

    def _evaluate(self, combiner: nn.Module, query: str) -> dict[str, float]:
        """Figures on the dev split, judged once for all processes."""
        with self._clock.part("evaluate"):
            found = self._processes.broadcast_from_main(
                lambda: self._evaluator.judge(self._current, combiner.to(self._device))
            )
        return recalls(found[0], query).figures()
