"""`cir report`: the page of a run, finished or not."""

from pathlib import Path
from typing import Any

from cir import arguments
from cir.artefacts.store import read_embeddings
from cir.config import ReportConfig, TrainConfig
from cir.data.dataset import Dataset
from cir.errors import CheckpointError, UsageError
from cir.names import REPORT_FILE, RUN_FILE
from cir.reporting.report import write_report
from cir.run_settings import read_settings, recorded_path
from pipeline.command.claims import claims_outputs
from pipeline.command.flags import command
from pipeline.screen import console


@claims_outputs
def run(config: ReportConfig) -> Path:
    """Writes the page and says where it is."""
    arguments.instance("config", config, ReportConfig)
    settings = _settings(config.run)
    report = write_report(
        config.out or config.run / REPORT_FILE,
        config.run,
        Dataset(config.dataset or recorded_path(config.run, settings, "dataset")),
        read_embeddings(config.embeddings or recorded_path(config.run, settings, "embeddings")),
        title=f"Training run {config.run.resolve().name}",
        command=command(TrainConfig, settings),
        device=config.device,
        workers=config.workers,
        progress=console.RichProgress(),
    )
    console.note(f"report: {report}")
    return report


def _settings(run: Path) -> dict[str, Any]:
    """What the run was started with."""
    file = run / RUN_FILE
    if not file.is_file():
        raise UsageError(f"{run} holds no {RUN_FILE}: expected a run folder of cir train")
    settings = read_settings(run)
    if not {"dataset", "embeddings"} <= set(settings):
        raise CheckpointError(f"{file} names no dataset or embeddings: pass a run of cir train")
    return settings
