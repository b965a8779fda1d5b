"""Training as one call: checks the inputs against one another, then starts or resumes a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.artefacts.trained import Purpose, count_others, write_trained
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.disk.outputs import Output, claimed
from cir.errors import DatasetError
from cir.machine.processes import ALONE, Processes
from cir.names import TRAINED_FILE
from cir.progress import SILENT, Progress
from cir.training import run_folder
from cir.training.builders import towers_to_tune
from cir.training.signals import handle_stop_signals
from cir.training.train_data import SPLIT, TrainSet, build_train_set
from cir.training.trainer import EpochListener, Trainer


def train(
    config: TrainConfig,
    dataset: Dataset,
    embeddings: Embeddings,
    manifest: Manifest,
    *,
    progress: Progress = SILENT,
    on_epoch: EpochListener = lambda line: None,
    processes: Processes = ALONE,
) -> Path:
    """Trains a run, or resumes it from its last checkpoint.

    SIGTERM and SIGINT save the run and end it. Several processes take a part of every batch each
    and move the weights as one would; the main one alone evaluates and writes.

    A process has one state of accelerate's, which the run shares with an `Accelerator` that the
    caller holds: both have one device and one precision, and afterwards neither accumulates
    gradients over several batches.

    Args:
        config: The run's settings.
        dataset: Its training split is used; images are read only where they are tuned on.
        embeddings: The store that `manifest` was mined from.
        manifest: The negatives of the first epoch.
        progress: Shows each epoch's queries, loss and learning rate, and what follows.
        on_epoch: Called after every epoch.
        processes: Those that train together.

    Returns:
        The run folder.

    Raises:
        UsageError: the run folder exists, is written by another process, or there is none to
            resume; or the caller's own Accelerator has another device or precision.
        ConfigError: the run to resume has other settings.
        DatasetError: the dataset's training split is another than when the run began.
        ManifestError: the manifest does not belong to the store or the dataset.
        WeightsError, StoreError: the encoder to tune cannot be had, or is not the store's.
        TrainingError: a loss is not finite; the last checkpoint stays as it was.
        StoppedError: a signal stopped the run, which is saved.
    """
    output = Output("out", config.out, "run", config.overwrite, config.resume)
    with claimed([output] if processes.main else [], config.read()):
        config = _settled(config, embeddings)
        if config.resume and processes.main:
            run_folder.require_same_settings(config.out, config.to_json())
        _run(config, dataset, embeddings, manifest, progress, on_epoch, processes)
    return config.out


def _settled(config: TrainConfig, embeddings: Embeddings) -> TrainConfig:
    """The configuration with the towers to tune, where it leaves them open: a begun run's own.

    Raises:
        ConfigError: a setting is of tuned towers, and none is tuned.
    """
    begun = run_folder.towers(config.out) if config.resume and config.tune is None else None
    return replace(config, tune=begun or towers_to_tune(config, embeddings))


def _run(
    config: TrainConfig,
    dataset: Dataset,
    embeddings: Embeddings,
    manifest: Manifest,
    progress: Progress,
    on_epoch: EpochListener,
    processes: Processes,
) -> None:
    """Checks the inputs, and trains."""
    data = build_train_set(
        dataset, embeddings, manifest, dev_fraction=config.dev_fraction, seed=config.seed
    )
    trainer = Trainer(config, data, processes=processes, progress=progress, on_epoch=on_epoch)
    trainer.setup(dataset, embeddings)
    with handle_stop_signals(config.out, processes) as stop, trainer:
        if processes.broadcast_from_main(lambda: _make_ready(config, data, dataset, embeddings)):
            trainer.resume()
        else:
            trainer.begin()
        trainer.train(stop)


def _make_ready(
    config: TrainConfig, data: TrainSet, dataset: Dataset, embeddings: Embeddings
) -> bool:
    """Makes the run folder ready; whether it holds a checkpoint to resume from."""
    record = config.out / TRAINED_FILE
    if config.resume and record.exists():
        _require_same_queries(record, data, dataset)
    resumes = config.resume and run_folder.make_ready(config.out)
    if not config.resume:
        run_folder.make(config.out, config.to_json())
    if not record.exists():
        _write_trained(record, data, dataset, embeddings)
    return resumes


def _require_same_queries(record: Path, data: TrainSet, dataset: Dataset) -> None:
    """Raises DatasetError where training would go on with other queries than it began with."""
    others = count_others(record, {"train": data.queries, "dev": data.dev})
    if others:
        raise DatasetError(
            f"the training split of {dataset.root} is not what the run in {record.parent} began "
            f"with, or an older version cut it: {others:,} queries differ from {record.name}; pass "
            f"the dataset as it was, or train again with another `out`"
        )


def _write_trained(path: Path, data: TrainSet, dataset: Dataset, embeddings: Embeddings) -> None:
    """Records the queries that are trained and chosen on, and those that are held out."""
    held_out = [q for s in dataset.splits if s != SPLIT for q in dataset.queries_or_none(s)]
    queries: dict[Purpose, Sequence[Query]] = {
        "train": data.queries,
        "dev": data.dev,
        "held-out": held_out,
    }
    origin = {"dataset": str(dataset.root), "embeddings_sha256": embeddings.sha256}
    write_trained(path, queries, embeddings, origin)
