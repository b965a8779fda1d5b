"""`cir train`: train a combiner, and CLIP's towers, on a manifest."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cir import arguments
from cir.artefacts.manifest import Manifest, read_manifest
from cir.artefacts.store import Embeddings
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.machine.processes import ALONE, Processes
from cir.models.composer import find_checkpoint
from cir.names import REPORT_FILE, RUN_FILE
from cir.progress import SILENT, Progress
from cir.reporting.doubts import doubts
from cir.reporting.held_out import held_out
from cir.reporting.report import write_report
from cir.run_settings import INPUTS, read_settings, recorded_path
from cir.spellings import loss_weights
from cir.training.builders import towers_to_tune
from cir.training.metrics_log import RunLog
from cir.training.train import train
from pipeline.command.claims import claims_outputs
from pipeline.command.flags import command
from pipeline.command.stores import read_fresh
from pipeline.screen import console

_SHOWN = ("R@10", "R@50", "headline")


@claims_outputs
def run(config: TrainConfig, processes: Processes = ALONE) -> Path:
    """Trains, prints a line an epoch and a table at the end, writes the report.

    Of several processes, each trains on its part of every batch, and the main one writes and says.
    """
    arguments.instance("config", config, TrainConfig)
    config = _found_again(config)
    dataset = Dataset(config.dataset)
    embeddings = read_fresh(
        config.embeddings, dataset, stale_ok=config.stale_ok, main=processes.main
    )
    manifest = read_manifest(config.manifest)
    progress: Progress = console.RichProgress() if processes.main else SILENT
    epochs: list[int] = []

    def show(line: Mapping[str, Any]) -> None:
        if not epochs:
            _say_what_is_tuned(config, embeddings)
            _say_which_margins_differ(config, manifest)
        epochs.append(line["epoch"])
        console.note(_sentence(line, config.epochs))

    folder = train(
        config,
        dataset,
        embeddings,
        manifest,
        progress=progress,
        on_epoch=show,
        processes=processes,
    )
    if not processes.main:
        return folder
    if config.resume and not epochs:
        done = RunLog(folder).epochs - 1
        console.note(f"{folder} is at its end after {done} epochs: nothing was left to train")
    _print_results(config, dataset, embeddings, progress)
    return folder


def _say_what_is_tuned(config: TrainConfig, embeddings: Embeddings) -> None:
    """Says which towers a run tunes that was not asked to."""
    towers = towers_to_tune(config, embeddings)
    if config.tune is None and towers != "none" and not config.resume:
        model = embeddings.provenance.model
        console.note(
            f"tunes the {towers} tower of {model} beside the combiner; `tune='none'` leaves it "
            f"frozen"
        )


def _say_which_margins_differ(config: TrainConfig, manifest: Manifest) -> None:
    """Says where the band was mined with another margin than the triplet loss has."""
    band = manifest.metadata.margin
    if "triplet" in loss_weights(config.loss) and band != config.margin:
        console.note(
            f"negatives are mined with a margin of {band:g}, and the triplet loss has one of "
            f"{config.margin:g}: `margin={band:g}` makes them equal"
        )


def _found_again(config: TrainConfig) -> TrainConfig:
    """The configuration with the inputs of a run to resume where the run has them.

    The command that began it, typed in another folder, names them as they are not found there.
    """
    if not (config.resume and (config.out / RUN_FILE).is_file()):
        return config
    settings = read_settings(config.out)
    lost = {n: p for n in INPUTS if (p := getattr(config, n)) is not None and not p.exists()}
    found: dict[str, Any] = {
        name: recorded_path(config.out, settings, name)
        for name, path in lost.items()
        if settings.get(name) == str(path)
    }
    return replace(config, **found)


def _print_results(
    config: TrainConfig, dataset: Dataset, embeddings: Embeddings, progress: Progress
) -> None:
    """Prints the table of the epochs and writes the report."""
    folder = config.out
    settings, best = read_settings(folder), find_checkpoint(folder).metadata.epoch
    _print_epochs(RunLog(folder).lines, best)
    report = write_report(
        folder / REPORT_FILE,
        folder,
        dataset,
        embeddings,
        title=f"Training run {folder.resolve().name}",
        command=command(TrainConfig, settings),
        device=config.device,
        workers=config.workers,
        progress=progress,
    )
    console.note(f"best epoch: {best}, in {folder}/checkpoints/best; report: {report}")
    for doubt in doubts(best, len(held_out(folder, settings, dataset, embeddings))):
        console.note(f"note: {doubt}")


def _sentence(line: Mapping[str, Any], epochs: int) -> str:
    loss = "" if line["loss"] is None else f"  loss {line['loss']:.4f}"
    recalls = "  ".join(f"{name} {line['dev'][name]:.2f}" for name in _SHOWN)
    return f"epoch {line['epoch']}/{epochs}{loss}  dev {recalls}  {_seconds(line)} s"


def _print_epochs(lines: list[dict[str, Any]], best: int) -> None:
    columns = ("epoch", "loss", "active", *(f"dev {name}" for name in _SHOWN))
    console.table(
        "Epochs",
        (*columns, "negatives at", "seconds", "best"),
        [
            ("sum", "", "", *_recalls(lines[0]["sum"]), "", "", ""),
            *((*_row(line), "★" if line["epoch"] == best else "") for line in lines),
        ],
    )


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    manifest = line["manifest"]
    return (
        str(line["epoch"]),
        "" if line["loss"] is None else f"{line['loss']:.4f}",
        "" if line["active_share"] is None else f"{line['active_share']:.0%}",
        *_recalls(line["dev"]),
        "" if manifest is None else f"{manifest['negative_distance']:.3f}",
        _seconds(line),
    )


def _seconds(line: Mapping[str, Any]) -> str:
    return f"{line['seconds']:.1f}" if "seconds" in line else "?"


def _recalls(dev: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{dev[name]:.2f}" for name in _SHOWN)
