"""A training run: set up, then epochs of steps, each evaluated, saved and mined after.

An epoch ends in this order: evaluate on dev, save `last` (from here on a killed run goes on from
this epoch), save `best` if it is the best, mine, write the line of `metrics.jsonl`. All that comes
after `last` can be made from it, and a resumed run makes what is missing. Within an epoch `last` is
saved every few minutes, and when the run is asked to stop. All randomness is a function of (seed,
epoch, step), so a resumed run ends as one that was never killed.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import Embeddings
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.errors import StoppedError, UsageError
from cir.machine.arithmetic import float32
from cir.machine.processes import Processes
from cir.machine.runtime import machine, pick_device
from cir.machine.workers import pick_workers
from cir.mining.machine import Machine
from cir.models.combiner import SumCombiner
from cir.names import BEST, LAST
from cir.progress import PartsOf, Progress
from cir.training import run_folder
from cir.training.batches import Batch, TrainingRows, draw_batches
from cir.training.builders import build_accelerator, build_learner, build_model
from cir.training.checkpoints import Checkpoints, ResumeState
from cir.training.dev import DevEvaluator
from cir.training.encode_batch import choose_encode_batch, telling_what_needs_less
from cir.training.epoch import EpochProgress, StepPosition, train_epoch
from cir.training.features import Towers
from cir.training.fixed_negatives import FixedNegatives
from cir.training.metrics_log import Clock, EpochLosses, EpochMetrics, RunLog, manifest_figures
from cir.training.remining import Remining
from cir.training.signals import StopRequest
from cir.training.trackers import Trackers
from cir.training.train_data import TrainSet
from cir.training.vectors import CurrentVectors

EpochListener = Callable[[Mapping[str, Any]], None]
"""Called after each epoch, with its line of `metrics.jsonl` and its seconds, in one mapping."""


class Trainer:
    """One run. `setup` it, then enter it, and there `begin` or `resume`, then `train`."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainSet,
        *,
        processes: Processes,
        progress: Progress,
        on_epoch: EpochListener,
        block_size: int = Machine.block_size,
    ) -> None:
        """Keeps the settings; `setup` builds the parts.

        Args:
            config: The run's settings.
            data: What it trains on, and is evaluated on.
            processes: Those that train together.
            progress: Shows each epoch's queries, loss and learning rate, and the work at its end.
            on_epoch: Called after every epoch.
            block_size: Queries compared with the gallery at once, where negatives are mined again.
        """
        self._config = config
        self._data = data
        self._processes = processes
        self._progress = progress
        self._on_epoch = on_epoch
        self._block_size = block_size
        self._clock = Clock()
        self._finished = 0
        """Epochs that are finished."""
        self._towers: Towers | None = None
        """Opened at the first epoch that is trained."""
        self._interrupted: EpochProgress | None = None
        """How far the epoch after those has come, where the run was interrupted within it."""

    def setup(self, dataset: Dataset, embeddings: Embeddings) -> None:
        """Builds the parts of the run, with initial weights by its seed; writes nothing.

        Args:
            dataset: Has the image files.
            embeddings: The store to train on.

        Raises:
            UsageError: the device, the precision or a tracker is not available.
            WeightsError, StoreError: the encoder to tune is not available, or not the store's.
        """
        self._device = device = pick_device(self._config.device)
        self._setup_model(embeddings, device)
        self._setup_vectors(dataset, embeddings)
        self._setup_evaluation(embeddings, device)
        self._setup_negatives(device)
        self._setup_checkpoints(embeddings)

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        self._trackers.finish()

    def begin(self) -> None:
        """Evaluates and saves the state before training, as epoch 0."""
        self._log = RunLog(self._config.out)
        self._trackers.start(self._config.out, self._config.to_json())
        with self._learner.average.in_place():
            self._end_epoch(0, None)

    def resume(self) -> None:
        """Restores the last checkpoint, and does again what was cut short after it was saved."""
        state, updates = self._checkpoints.restore()
        self._finished, self._clock = state.epoch, Clock(state.seconds)
        self._log = RunLog(self._config.out)
        if self._processes.main:
            self._log.keep(self._finished + 1)
        self._trackers.start(self._config.out, self._config.to_json(), updates)
        complete = self._processes.broadcast_from_main(lambda: self._log.epochs > self._finished)
        mined_after = self._finished if complete else self._finished - 1
        self._negatives.restore(self._config.out, mined_after)
        if state.progress is not None:
            self._resume_within_epoch(state.progress, state)
            return
        with self._learner.average.in_place():
            if self._finished and not (complete and self._at_end()):
                self._encode_again(self._finished)
            if state.metrics is not None and not complete:
                self._complete_epoch(state.metrics)

    def train(self, stop: StopRequest) -> None:
        """Trains the epochs that are left, until dev is at its plateau.

        Raises:
            TrainingError: a loss is not finite.
            StoppedError: a signal stopped the run, which is saved.
        """
        left = range(self._finished + 1, self._config.epochs + 1)
        if self._at_end():
            return
        done = self._interrupted.means.queries if self._interrupted else 0
        queries = len(left) * len(self._negatives.manifest) - done
        with self._progress.task("run", queries, "queries") as whole:
            for epoch in left:
                if self._at_plateau():
                    return
                losses = self._train_epoch(epoch, stop, PartsOf(whole, self._progress))
                with self._learner.average.in_place():
                    self._encode_again(epoch)
                    self._end_epoch(epoch, losses)

    def _at_end(self) -> bool:
        """Whether no epoch is left to train."""
        return self._finished >= self._config.epochs or self._at_plateau()

    def _at_plateau(self) -> bool:
        """Whether so many epochs have not bettered the best that the run shall end."""
        patience = self._config.patience
        return patience is not None and self._processes.broadcast_from_main(
            lambda: self._log.is_at_plateau(patience)
        )

    def _setup_model(self, embeddings: Embeddings, device: torch.device) -> None:
        config = self._config
        accelerator = build_accelerator(config.out, device, config.precision)
        self._model = build_model(config, embeddings, device)
        trackers = [name for name in config.tracker if name != "none" and self._processes.main]
        self._trackers = Trackers(accelerator, trackers, config.log_every)
        self._learner = build_learner(config, self._model, accelerator, self._processes)

    def _setup_vectors(self, dataset: Dataset, embeddings: Embeddings) -> None:
        self._vectors = CurrentVectors(
            self._model,
            self._data,
            dataset,
            embeddings,
            device=self._device,
            workers=pick_workers(self._config.workers, self._device),
            processes=self._processes,
            progress=self._progress,
        )

    def _setup_evaluation(self, embeddings: Embeddings, device: torch.device) -> None:
        self._dev = DevEvaluator(self._data, embeddings, device, self._processes)
        self._fixed = FixedNegatives(self._data, self._config.margin, device)
        self._machine = machine(device)

    def _setup_negatives(self, device: torch.device) -> None:
        self._negatives = Remining(
            self._config,
            self._data,
            self._vectors,
            Machine(device, self._block_size, progress=self._progress, processes=self._processes),
        )

    def _setup_checkpoints(self, embeddings: Embeddings) -> None:
        self._checkpoints = Checkpoints(
            self._config, embeddings, self._model, self._learner, self._processes
        )

    def _resume_within_epoch(self, progress: EpochProgress, state: ResumeState) -> None:
        """Goes on with the vectors that the epoch began with."""
        self._interrupted = progress
        if state.images is not None:
            self._vectors.restore_images(state.images)

    def _train_epoch(self, epoch: int, stop: StopRequest, progress: Progress) -> EpochLosses:
        """One pass over the manifest, or the rest of an interrupted one."""
        resumed, self._interrupted = self._interrupted, None
        if resumed is None:
            self._clock = Clock()
        sources = self._negatives.sources()
        batches = self._draw_batches(sources.rows, epoch)
        with (
            self._clock.part("train"),
            stop.deferred(),
            float32(self._config.precision),
            telling_what_needs_less(self._config),
        ):
            return train_epoch(
                self._learner,
                self._open_towers(batches, begins=epoch == 1 and resumed is None),
                sources,
                batches,
                StepPosition(epoch, self._config.epochs, self._config.seed),
                resumed=resumed,
                on_step=self._trackers.step,
                between_steps=partial(self._save_or_stop, stop, epoch, len(batches)),
                progress=progress,
            )

    def _open_towers(self, batches: Sequence[Batch], *, begins: bool) -> Towers:
        """The towers; a run that begins chooses how many images or texts they encode at once.

        A run that goes on keeps what it chose.
        """
        if self._towers is None:
            if begins and self._config.encode_batch is None:
                chosen = choose_encode_batch(self._model, batches, self._processes)
                self._model.encode_batch = chosen
            self._towers = self._vectors.towers()
        return self._towers

    def _draw_batches(self, rows: TrainingRows, epoch: int) -> list[Batch]:
        """The batches of an epoch.

        Raises:
            UsageError: some process would have no part of a batch.
        """
        config = self._config
        batches = draw_batches(
            rows,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            negatives=self._learner.objective.needs_negatives and config.online_top_k is None,
            row_negatives=config.row_negatives,
        )
        smallest, count = min(map(len, batches)), self._processes.count
        if smallest < count:
            raise UsageError(
                f"`batch_size` is {config.batch_size}, which gives batches of {smallest} queries; "
                f"expected at least {count}, one for each process"
            )
        return batches

    def _save_or_stop(
        self, stop: StopRequest, epoch: int, steps: int, progress: EpochProgress
    ) -> None:
        """Between two steps, saves where that is due, and stops where that is asked for."""
        received = stop.received_by_any()
        due = self._checkpoints.is_due
        # A whole epoch is saved at its end, unless the run stops here.
        if progress.step and (received or (due and progress.step < steps)):
            self._save_within_epoch(epoch, progress)
        if received:
            raise StoppedError(
                received,
                f"stopped by {received.name} at epoch {epoch}, step {progress.step} of {steps}; "
                f"saved in {run_folder.checkpoint(self._config.out, LAST)}",
            )

    def _save_within_epoch(self, epoch: int, progress: EpochProgress) -> None:
        images = self._vectors.now.images if self._steps_use_moved_images else None
        state = ResumeState(epoch - 1, self._clock.seconds(), progress=progress, images=images)
        with self._learner.average.in_place():
            self._checkpoints.save(LAST, state)

    @property
    def _steps_use_moved_images(self) -> bool:
        """Whether steps use the vectors that the model gave of images when the epoch began.

        The contrastive term uses them in its exclusions and its bank, and online negatives are
        searched among them.
        """
        online = self._config.online_top_k is not None
        return self._model.tunes_image and (online or self._learner.objective.contrasts)

    def _encode_again(self, epoch: int) -> None:
        """Encodes again, with the model of now, what evaluation and mining need."""
        if self._model.encoder is not None:
            with self._clock.part("embed"):
                self._vectors.encode_again(mined=self._negatives.is_due(epoch))

    def _end_epoch(self, epoch: int, losses: EpochLosses | None) -> None:
        """Evaluates and saves an epoch, and completes it."""
        dev = self._evaluate(self._model.combiner, "combiner")
        metrics = EpochMetrics(epoch, losses, dev, manifest=None, fixed=self._fixed_loss(epoch))
        self._checkpoints.save(LAST, ResumeState(epoch, self._clock.seconds(), metrics))
        self._complete_epoch(metrics)

    def _complete_epoch(self, metrics: EpochMetrics) -> None:
        """Saves the best checkpoint, mines, and writes the line of an epoch that is saved."""
        epoch = metrics.epoch
        if self._log.is_best(metrics.dev):
            self._checkpoints.save(BEST, ResumeState(epoch, self._clock.seconds(), metrics))
        manifest = self._mine(epoch)
        plain = self._evaluate(SumCombiner(), "sum") if epoch == 0 else None
        self._finished = epoch
        if self._processes.main:
            self._report(dataclasses.replace(metrics, manifest=manifest, sum=plain))

    def _mine(self, epoch: int) -> Mapping[str, float] | None:
        """Mines the next epoch's manifest where that is due, and writes it.

        Epoch 0 writes the given manifest where none is mined.

        Returns:
            Figures of the manifest that was written, or None.
        """
        due = self._negatives.is_due(epoch)
        if due:
            with self._clock.part("mine"):
                sha256 = self._checkpoints.last_sha256()
                self._negatives.mine(epoch, self._model.combiner, sha256)
        elif epoch:
            return None
        manifest = self._negatives.manifest
        if self._processes.main:
            write_manifest(manifest, run_folder.manifest_file(self._config.out, epoch))
        return manifest_figures(manifest, self._negatives.trust())

    def _evaluate(self, combiner: nn.Module, query: str) -> dict[str, float]:
        """Figures on the dev split."""
        with self._clock.part("evaluate"):
            return self._dev.figures(self._vectors.now, combiner, query)

    def _fixed_loss(self, epoch: int) -> float | None:
        """The loss on the first negatives, where the captions of their queries are up to date."""
        if epoch and self._model.encoder is not None and not self._negatives.is_due(epoch):
            return None
        with self._clock.part("evaluate"):
            return self._processes.broadcast_from_main(
                lambda: self._fixed.loss(self._vectors.now, self._model.combiner)
            )

    def _report(self, metrics: EpochMetrics) -> None:
        """Writes the epoch's line, and sends it to the trackers and to the caller."""
        self._log.append(metrics, self._clock.seconds(), self._machine)
        line = self._log.lines[-1]
        self._trackers.epoch(line)
        self._on_epoch(line)
