"""A run as one HTML page that needs nothing beside itself: charts, photos, tables, settings."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Final

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.data.dataset import Dataset, hold_out
from cir.encoding.tuned import as_tuned
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation
from cir.mining.manifest import usable_queries
from cir.models.combiner import SumCombiner
from cir.models.composer import composer_of
from cir.progress import SILENT, Progress
from cir.reporting.cards import OUTCOME_TEXTS, example_card, mined_cards
from cir.reporting.epoch_figures import series
from cir.reporting.examples import OUTCOMES, SHOWN_IMAGES, Examples, draw_examples
from cir.reporting.pages import SHA_SHOWN, Figure, PageTable, percents, shown, write_page
from cir.reporting.pictures import Pictures
from cir.reporting.run_charts import run_charts
from cir.reporting.run_record import RunRecord, read_run
from cir.runtime import pick_device
from cir.workers import pick_workers

_RECALLS: Final = ("R@1", "R@10", "R@50")
_SEED: Final = 0
"""Of the draw of examples: the same run always shows the same ones."""


def write_report(
    path: Path,
    run: Path,
    dataset: Dataset,
    embeddings: Embeddings,
    *,
    title: str,
    evaluation: Sequence[Evaluation] = (),
    progress: Progress = SILENT,
) -> Path:
    """Writes the page of a run, of which an epoch is finished, and returns its path.

    Args:
        path: The HTML file to write; one that is there is replaced.
        run: A run folder of `cir.training.train`.
        dataset: The dataset trained on; a photo that is gone is left blank.
        embeddings: The store trained on.
        title: The page's heading.
        evaluation: Recalls to tabulate, of the trained combiner and of baselines.
        progress: Shows work on examples where a tuned encoder encodes again.

    Raises:
        CheckpointError: the run folder lacks what training writes.
        ManifestError: its manifests are damaged.
    """
    record = read_run(run)
    pictures = Pictures(dataset)
    examples, protocol = _examples(record, dataset, embeddings, progress)
    write_page(
        path,
        "report.html.j2",
        title=title,
        subtitle=_subtitle(record),
        figures=_figures(record, dataset, held_out=sum(examples.counts.values())),
        charts=run_charts(record),
        protocol=protocol,
        outcomes=[(name, OUTCOME_TEXTS[name], examples.counts[name]) for name in OUTCOMES],
        examples=[example_card(example, record, pictures) for example in examples.shown],
        mined=mined_cards(record, pictures, seed=_SEED),
        tables=[_epochs(record), *_tables(evaluation)],
        settings=_settings(record, embeddings),
    )
    return path


def _subtitle(run: RunRecord) -> str:
    metadata = run.checkpoint.metadata
    strategies = dict.fromkeys(mined.strategy for mined in run.mined.epochs)
    tuned = "" if metadata.tune == "none" else f", {metadata.tune} tuned"
    model = f"{metadata.combiner} combiner over {metadata.provenance.model}{tuned}"
    parts = (model, f"{' then '.join(strategies)} negatives", run.unfinished)
    return ", ".join(part for part in parts if part)


def _figures(run: RunRecord, dataset: Dataset, held_out: int) -> list[Figure]:
    gallery = len({i for ids in dataset.galleries("train").values() for i in ids})
    starved = run.last.metadata.counts.starved
    best = f"mean of R@10 and R@50; plain sum → epoch {run.best_epoch}"
    return [
        Figure("Headline", _change(run, "headline"), best),
        *(Figure(name, _change(run, name), "of held-out queries, in percent") for name in _RECALLS),
        Figure("Training queries", f"{len(run.first):,}", _categories(run.first)),
        Figure("Held-out queries", f"{held_out:,}", f"each among {gallery:,} training images"),
        Figure(
            "Mined negatives", f"{len(run.last.negative_ids):,}", f"{starved:,} queries starved"
        ),
        Figure("Wall time", _duration(sum(one.seconds for one in run.epochs)), _reached(run)),
    ]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _reached(run: RunRecord) -> str:
    return run.unfinished or f"{run.epochs[-1].epoch} epochs, with evaluation and mining"


def _epochs(run: RunRecord) -> PageTable:
    """Every epoch in figures."""
    strategies = {mined.epoch: mined.strategy for mined in run.mined.epochs}
    losses = list(series(run.epochs, "losses"))
    columns = ["epoch", *losses, "active", *_RECALLS, "headline", "mined after it", "seconds"]
    plain = ["plain sum", *[""] * (len(losses) + 1), *_recalls(run.plain_sum), "", ""]
    rows = [
        [
            f"{one.epoch}, the best" if one.epoch == run.best_epoch else str(one.epoch),
            *(f"{one.losses[name]:.4f}" if name in one.losses else "" for name in losses),
            "" if one.active_share is None else f"{one.active_share:.0%}",
            *_recalls(one.dev),
            strategies.get(one.epoch, ""),
            f"{one.seconds:.1f}",
        ]
        for one in run.epochs
    ]
    return PageTable("Epochs", columns, [plain, *rows], ["Recalls are those of held-out queries."])


def _recalls(dev: Mapping[str, float]) -> list[str]:
    return [f"{dev[name]:.1f}" for name in (*_RECALLS, "headline")]


def _change(run: RunRecord, name: str) -> str:
    """A figure of the plain sum, and of the best epoch."""
    return f"{run.plain_sum[name]:.1f} → {run.best[name]:.1f}"


def _categories(manifest: Manifest) -> str:
    names = sorted(set(manifest.categories))
    return f"in {len(names)} categories" if len(names) > 1 else f"of {names[0]}"


def _settings(run: RunRecord, embeddings: Embeddings) -> list[tuple[str, list[tuple[str, str]]]]:
    metadata = run.checkpoint.metadata
    origin = {
        "encoder": metadata.provenance.model,
        "pretrained": metadata.provenance.pretrained,
        "preprocess": metadata.provenance.preprocess,
        "dimension": metadata.dim,
        "encoder weights": metadata.provenance.weights_sha256[:SHA_SHOWN],
        "embedding store": embeddings.sha256[:SHA_SHOWN],
        "best checkpoint": run.checkpoint.sha256[:SHA_SHOWN],
        "images skipped": len(embeddings.skipped),
        "cir": metadata.cir_version,
    }
    groups = {
        "Provenance": origin,
        "Training": run.config,
        "Mining": run.first.metadata.options,
    }
    return [(name, [(k, shown(v)) for k, v in values.items()]) for name, values in groups.items()]


def _tables(evaluations: Sequence[Evaluation]) -> list[PageTable]:
    """The means of every evaluation, then the recalls of each category; nothing for none."""
    if not evaluations:
        return []
    first = evaluations[0]
    notes = list(dict.fromkeys(note for e in evaluations for note in e.notes()))
    columns = list(first.figures())
    means = [[e.query, *percents(e.figures())] for e in evaluations]
    by_category = [
        [c.category, e.query, f"{c.queries:,}", f"{c.gallery_size:,}", *percents(c.figures())]
        for number, _ in enumerate(first.categories)
        for e in evaluations
        for c in (e.categories[number],)
    ]
    return [
        PageTable(
            f"Evaluation: {first.protocol}",
            ["mean over categories", *columns],
            [*means, ["chance", *percents(first.chance_figures())]],
            notes,
        ),
        PageTable(
            "Evaluation by category",
            ["category", "query", "queries", "gallery", *columns],
            by_category,
        ),
    ]


def _examples(
    run: RunRecord, dataset: Dataset, embeddings: Embeddings, progress: Progress
) -> tuple[Examples, Protocol]:
    """Draws from the dev queries, which training has seen nothing of."""
    device = pick_device("auto")
    known, _ = usable_queries(dataset.queries("train"), embeddings)
    _, dev = hold_out(known, run.config["dev_fraction"], run.config["seed"])
    galleries, protocol = dataset.galleries("train"), Protocol("train")
    evaluator = Evaluator(dev, galleries, embeddings, [protocol], device=device)
    tuned = as_tuned(
        embeddings,
        run.checkpoint,
        dataset,
        dev,
        chain(*galleries.values()),
        device=device,
        workers=pick_workers(None),
        progress=progress,
    )
    trained = composer_of(run.checkpoint).combiner
    before, after = (
        evaluator.judge(vectors, combiner, listed=SHOWN_IMAGES)[0]
        for vectors, combiner in ((embeddings, SumCombiner()), (tuned, trained))
    )
    return draw_examples(before, after, seed=_SEED), protocol
