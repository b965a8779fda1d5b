"""`cir evaluate`: Recall@K of a trained combiner, or of a baseline, under a stated protocol."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cir import __version__
from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.store import Embeddings, read_embeddings
from cir.config import RUN, EvaluateConfig
from cir.data.dataset import Dataset
from cir.encoding.tuned import as_tuned
from cir.evaluation.protocol import require_targets
from cir.evaluation.recall import CUTOFFS, Evaluation, Protocol, evaluate, headline
from cir.files import refuse_existing, write_json
from cir.models.composition import baseline
from cir.models.trained import Trained, load_trained
from cir.reporting.examples import Composer
from cir.runtime import pick_device
from cir.workers import pick_workers
from pipeline import console


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the figures are computed from."""

    dataset: Dataset
    embeddings: Embeddings
    trained: Trained | None
    """None for a baseline."""
    device: torch.device


def run(config: EvaluateConfig) -> Path:
    """Ranks, prints the figures, and returns where they were written to or come from."""
    if config.json:
        refuse_existing(config.json, overwrite=config.overwrite)
    inputs = _open(config)
    found = _evaluate(config, inputs)
    checkpoint = inputs.trained.checkpoint if inputs.trained else None
    _print(found, checkpoint)
    if config.json:
        write_json(config.json, found.to_json() | _origin(inputs.embeddings, checkpoint))
    return config.json or (checkpoint.folder if checkpoint else config.embeddings)


def _open(config: EvaluateConfig) -> _Inputs:
    """Reads everything, cheapest first, so that what cannot be evaluated is told at once."""
    dataset, device = Dataset(config.dataset), pick_device(config.device)
    require_targets(dataset.queries(config.split), config.split)
    trained = load_trained(config.run or RUN) if config.query == "combiner" else None
    return _Inputs(dataset, read_embeddings(config.embeddings), trained, device)


def _evaluate(config: EvaluateConfig, inputs: _Inputs) -> Evaluation:
    composer = _composer(config, inputs)
    return evaluate(
        inputs.dataset.queries(config.split),
        inputs.dataset.galleries(config.split),
        composer.embeddings,
        composer.combiner,
        Protocol(config.split, config.gallery, config.reference, config.captions),
        query=config.query,
        device=inputs.device,
        progress=console.RichProgress(),
    )


def _composer(config: EvaluateConfig, inputs: _Inputs) -> Composer:
    """The combiner with the vectors it works on: a tuned encoder's where it was tuned."""
    if inputs.trained is None:
        return Composer(baseline(config.query), inputs.embeddings)
    tuned = as_tuned(
        inputs.embeddings,
        inputs.trained.checkpoint,
        inputs.dataset,
        inputs.dataset.queries(config.split),
        inputs.dataset.galleries(config.split),
        device=inputs.device,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    return Composer(inputs.trained.combiner, tuned)


def _origin(embeddings: Embeddings, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Where the vectors and the weights come from, as JSON values."""
    store = {
        "path": str(embeddings.path),
        "sha256": embeddings.sha256,
        "provenance": asdict(embeddings.provenance),
    }
    return {
        "cir_version": __version__,
        "embeddings": store,
        "checkpoint": _checkpoint_origin(checkpoint) if checkpoint else None,
    }


def _checkpoint_origin(checkpoint: Checkpoint) -> dict[str, Any]:
    metadata = checkpoint.metadata
    return {
        "path": str(checkpoint.folder),
        "sha256": checkpoint.sha256,
        "combiner": metadata.combiner,
        "tune": metadata.tune,
        "epoch": metadata.epoch,
        "embeddings_sha256": metadata.embeddings_sha256,
        "provenance": asdict(metadata.provenance),
    }


def _print(found: Evaluation, checkpoint: Checkpoint | None) -> None:
    of = f"{checkpoint.folder} (epoch {checkpoint.metadata.epoch})" if checkpoint else found.query
    columns = ("category", "queries", "gallery", *(f"R@{k}" for k in CUTOFFS), "headline")
    console.note(of)
    console.table(
        str(found.protocol),
        columns,
        [
            *(
                (c.category, f"{c.queries:,}", f"{c.gallery_size:,}", *_cells(c.recall))
                for c in found.categories
            ),
            ("mean", f"{found.queries:,}", "", *_cells(found.mean)),
            ("chance", "", "", *_cells(found.chance)),
        ],
    )
    for line in found.notes():
        console.note(line)


def _cells(recall: dict[int, float]) -> tuple[str, ...]:
    return (*(f"{recall[k]:.2f}" for k in CUTOFFS), f"{headline(recall):.2f}")
