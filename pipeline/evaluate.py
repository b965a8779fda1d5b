"""`cir evaluate`: Recall@K under stated protocols, of a run, of a baseline, or of two compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from cir import __version__
from cir.artefacts.checkpoint import Checkpoint
from cir.artefacts.query_ranks import write_query_ranks
from cir.artefacts.store import Embeddings, read_embeddings
from cir.config import RUN, CaptionRule, EvaluateConfig, GalleryName, ReferenceRule
from cir.data.dataset import Dataset, Query
from cir.encoding.tuned import as_tuned
from cir.evaluation.comparison import MEAN, Comparison, compare
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol, require_targets, standard_protocol
from cir.evaluation.queryrows import LISTED, query_rows
from cir.evaluation.ranks import Ranks
from cir.evaluation.recall import Evaluation, recalls
from cir.evaluation.submission import submission
from cir.files import folder_written_aside, refuse_existing, write_json
from cir.models.composition import baseline
from cir.models.trained import load_trained
from cir.runtime import pick_device
from cir.workers import pick_workers
from pipeline import console


@dataclass(frozen=True, eq=False)
class _Composition:
    """A way to compose queries, with the vectors it works on."""

    name: str
    combiner: nn.Module
    checkpoint: Checkpoint | None
    """None for a baseline."""
    embeddings: Embeddings
    """Those of the store, or a tuned encoder's."""

    def __str__(self) -> str:
        if self.checkpoint is None:
            return self.name
        return f"{self.checkpoint.folder} (epoch {self.checkpoint.metadata.epoch})"


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the figures are computed from."""

    dataset: Dataset
    queries: list[Query]
    galleries: dict[str, list[str]]
    store: Embeddings
    protocols: list[Protocol]
    device: torch.device

    def evaluator(self) -> Evaluator:
        """Judges under every protocol."""
        return Evaluator(
            self.queries, self.galleries, self.store, self.protocols, device=self.device
        )


def run(config: EvaluateConfig) -> Path:
    """Ranks, prints the figures, and returns where they were written to or come from."""
    _refuse_existing(config)
    inputs = _open(config)
    if config.compares:
        return _compare(config, inputs)
    composition = _compositions(config, inputs)[-1]
    if config.submission:
        _submit(config.submission, inputs, composition)
    if _has_targets(inputs) or not config.submission:
        _evaluate(config, inputs, composition)
    written = config.json or config.per_query or config.submission
    source = composition.checkpoint.folder if composition.checkpoint else config.embeddings
    return written or source


def _refuse_existing(config: EvaluateConfig) -> None:
    for path, option in (
        (config.json, "--json"),
        (config.per_query, "--per-query"),
        (config.submission, "--submission"),
    ):
        if path:
            refuse_existing(path, overwrite=config.overwrite, option=option)


def _open(config: EvaluateConfig) -> _Inputs:
    """Reads everything, cheapest first, so that what cannot be evaluated is told at once."""
    dataset, device = Dataset(config.dataset), pick_device(config.device)
    queries = dataset.queries(config.split)
    if not config.submission:
        require_targets(queries, config.split)
    return _Inputs(
        dataset=dataset,
        queries=queries,
        galleries=dataset.galleries(config.split),
        store=read_embeddings(config.embeddings),
        protocols=_protocols(config, dataset),
        device=device,
    )


def _protocols(config: EvaluateConfig, dataset: Dataset) -> list[Protocol]:
    """Every combination that is asked for, the benchmark's own first."""
    standard = standard_protocol(dataset.form, config.split)
    rules = (config.gallery, config.reference or (standard.reference,), config.captions)
    if config.all_protocols:
        rules = (get_args(GalleryName), get_args(ReferenceRule), get_args(CaptionRule))
    asked = dict.fromkeys(Protocol(config.split, *each) for each in product(*rules))
    return sorted(asked, key=lambda protocol: protocol != standard)


def _has_targets(inputs: _Inputs) -> bool:
    return all(query.target_ids for query in inputs.queries)


def _compositions(config: EvaluateConfig, inputs: _Inputs) -> list[_Composition]:
    """What is judged; of two, the one that the change is counted from stands first."""
    runs = [path for path in (config.run, config.other) if path is not None]
    if config.query == "combiner":
        return [_trained(path, config, inputs) for path in runs or [RUN]]
    plain = _Composition(config.query, baseline(config.query), None, inputs.store)
    judged = runs or [RUN] if config.compare else []
    return [plain, *(_trained(path, config, inputs) for path in judged)]


def _trained(path: Path, config: EvaluateConfig, inputs: _Inputs) -> _Composition:
    """The combiner of a run with the vectors of its encoder."""
    trained = load_trained(path)
    vectors = as_tuned(
        inputs.store,
        trained.checkpoint,
        inputs.dataset,
        inputs.queries,
        inputs.galleries,
        device=inputs.device,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    return _Composition("combiner", trained.combiner, trained.checkpoint, vectors)


# --------------------------------------------------------------------------------- one run


def _evaluate(config: EvaluateConfig, inputs: _Inputs, composition: _Composition) -> None:
    """Prints and writes the figures of one way to compose queries."""
    ranks = _judge(inputs.evaluator(), composition, LISTED if config.per_query else 0)
    found = [recalls(own, composition.name) for own in ranks]
    origin = _origin(inputs.store, composition.checkpoint)
    console.note(str(composition))
    _print(found)
    if config.json:
        every = {"protocols": [each.to_json() for each in found]}
        write_json(config.json, found[0].to_json() | every | origin)
    if config.per_query:
        described = {"query": composition.name, "protocol": asdict(ranks[0].protocol), **origin}
        write_query_ranks(query_rows(ranks[0]), config.per_query, described)
        console.note(f"{config.per_query}: each query's rank; {ranks[0].protocol}")


def _judge(evaluator: Evaluator, composition: _Composition, listed: int = 0) -> list[Ranks]:
    return evaluator.judge(
        composition.embeddings,
        composition.combiner,
        listed=listed,
        progress=console.RichProgress(),
    )


def _submit(folder: Path, inputs: _Inputs, composition: _Composition) -> None:
    """Writes the rankings of the first protocol as a test server takes them."""
    evaluator = Evaluator(
        inputs.queries,
        inputs.galleries,
        inputs.store,
        inputs.protocols[:1],
        device=inputs.device,
        judged=False,
    )
    ranks = _judge(evaluator, composition, LISTED)[0]
    files = submission(ranks, inputs.dataset.form)
    with folder_written_aside(folder) as aside:
        for name, value in files.items():
            write_json(aside / name, value)
    count = sum(len(found.task.queries) for found in ranks.categories)
    console.note(
        f"{folder}: {', '.join(files)} for {inputs.dataset.form}'s test server, "
        f"{count:,} queries; {ranks.protocol}"
    )


def _print(found: Sequence[Evaluation]) -> None:
    """The categories under the first protocol, then the means under each of several."""
    first = found[0]
    console.table(
        str(first.protocol),
        ("category", "queries", "gallery", *first.figures()),
        [
            *(
                (c.category, f"{c.queries:,}", f"{c.gallery_size:,}", *_cells(c.figures()))
                for c in first.categories
            ),
            ("mean", f"{first.queries:,}", "", *_cells(first.figures())),
            ("chance", "", "", *_cells(first.chance_figures())),
        ],
    )
    if len(found) > 1:
        _print_protocols(found)
    for line in dict.fromkeys(note for each in found for note in each.notes()):
        console.note(line)


def _print_protocols(found: Sequence[Evaluation]) -> None:
    rules = [each.protocol for each in found]
    console.table(
        f"split {rules[0].split}: means over categories under each protocol",
        ("gallery", "reference", "captions", *found[0].figures()),
        [
            (p.gallery, p.reference, p.captions, *_cells(each.figures()))
            for p, each in zip(rules, found, strict=True)
        ],
    )


def _cells(figures: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in figures.values())


# -------------------------------------------------------------------------------- two runs


def _compare(config: EvaluateConfig, inputs: _Inputs) -> Path:
    """Prints and writes what changes from the first composition to the second."""
    compositions = _compositions(config, inputs)
    evaluator = inputs.evaluator()
    before, after = (_judge(evaluator, composition) for composition in compositions)
    compared = [
        compare(was, now, resamples=config.resamples, seed=config.seed)
        for was, now in zip(before, after, strict=True)
    ]
    console.note(f"from {compositions[0]} to {compositions[1]}")
    for each in compared:
        _print_comparison(each)
    if config.json:
        sides = zip(("before", "after"), compositions, (before, after), strict=True)
        figures = {
            side: {
                "protocols": [recalls(own, composition.name).to_json() for own in ranks],
                **_origin(inputs.store, composition.checkpoint),
            }
            for side, composition, ranks in sides
        }
        write_json(config.json, {"comparisons": [each.to_json() for each in compared], **figures})
    return config.json or config.embeddings


def _print_comparison(compared: Comparison) -> None:
    console.table(
        str(compared.protocol),
        ("category", "measure", "before", "after", "change", "95 % interval", "p"),
        [
            (
                *(row.category, row.measure, f"{row.before:.2f}", f"{row.after:.2f}"),
                f"{row.change.difference:+.2f}",
                f"{row.change.low:+.2f} to {row.change.high:+.2f}",
                f"{row.change.p:.4f}",
            )
            for row in compared.rows
        ],
    )
    headline = next(
        row for row in compared.rows if (row.category, row.measure) == (MEAN, "headline")
    )
    beyond = "more" if headline.change.low > 0 or headline.change.high < 0 else "no more"
    console.note(
        f"the headline moves by {headline.change.difference:+.2f}, {beyond} than the choice of "
        f"queries explains: {compared.resamples:,} draws of {compared.references:,} references, "
        f"each with all its queries"
    )


# ---------------------------------------------------------------------------------- origin


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
