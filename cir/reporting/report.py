"""A run as one HTML page that needs nothing beside itself: charts, photos, tables, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch

from cir.artefacts.manifest import Manifest
from cir.artefacts.store import Embeddings
from cir.config import Device, TrainConfig
from cir.data.dataset import Dataset
from cir.encoding.tuned import as_tuned
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import standard_protocol
from cir.evaluation.ranks import Ranks
from cir.evaluation.recall import Evaluation, recalls
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_workers
from cir.models.combiner import SumCombiner
from cir.models.composer import composer_of
from cir.progress import SILENT, Progress
from cir.reporting.album import Album
from cir.reporting.cards import OUTCOME_TEXTS, example_card, mined_cards
from cir.reporting.category_chart import category_chart
from cir.reporting.doubts import doubts
from cir.reporting.epoch_figures import losses_by_name
from cir.reporting.examples import OUTCOMES, SHOWN_IMAGES, Examples, draw_examples
from cir.reporting.held_out import held_out
from cir.reporting.judged import PLAIN_SUM, BeforeAfter, judged, judged_in, judged_tables
from cir.reporting.pages import (
    Figure,
    PageTable,
    counted,
    percents,
    shown,
    write_page,
)
from cir.reporting.run_charts import run_charts
from cir.reporting.run_record import RunRecord, read_run
from cir.types import KINDS

_RECALLS: Final = ("R@1", "R@10", "R@50")
_SEED: Final = 0
"""Of the draw of examples: the same run always shows the same ones."""


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """The held-out queries, ranked by the plain sum and by the best epoch."""

    before: Ranks
    after: Ranks
    examples: Examples
    chance: Mapping[str, float]

    @property
    def queries(self) -> int:
        return sum(self.examples.counts.values())


def write_report(
    path: Path,
    run: Path,
    dataset: Dataset,
    embeddings: Embeddings,
    *,
    title: str,
    evaluation: Sequence[Evaluation] = (),
    command: str = "",
    device: Device = "auto",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Writes the page of a run, of which an epoch is finished, and returns its path.

    Args:
        path: The HTML file to write; one that is there is replaced.
        run: A run folder of `cir.training.train`. Evaluations of its best epoch that lie in it, as
            JSON files of `cir evaluate`, are shown.
        dataset: The dataset trained on; a photo that is gone is left blank.
        embeddings: The store trained on.
        title: The page's heading.
        evaluation: Recalls of the plain sum and of the trained combiner, in place of those that
            lie in the run folder.
        command: What repeats the run, for the reader.
        device: Where held-out queries are ranked.
        workers: Processes that decode images where a tuned encoder encodes again; one a core, at
            most 8, by default.
        progress: Shows work on examples where a tuned encoder encodes again.

    Raises:
        CheckpointError: the run folder lacks what training writes.
        ManifestError: its manifests are damaged.
    """
    record, album = read_run(run), Album(dataset)
    where = pick_device(device)
    ranked = _rank_held_out(
        run,
        record,
        dataset,
        embeddings,
        where,
        pick_workers(workers, where),
        progress,
    )
    pairs, notes = judged(evaluation), list[str]()
    if not pairs:
        sha256 = record.checkpoint.sha256
        pairs, notes = judged_in(run, sha256, dataset, embeddings, where)
    queries = {query.id: query for query in dataset.queries("train")}
    write_page(
        path,
        "report.html.j2",
        title=title,
        subtitle=_subtitle(record),
        command=command,
        facts=_facts(record, dataset),
        notes=[*notes, *doubts(record.best_epoch, ranked.queries)],
        figures=_figures(record, dataset, ranked, pairs),
        charts=run_charts(record, ranked.chance, _category_charts(ranked, pairs)),
        protocol=ranked.after.title,
        outcomes=[(name, OUTCOME_TEXTS[name], ranked.examples.counts[name]) for name in OUTCOMES],
        examples=[example_card(example, record, album) for example in ranked.examples.shown],
        mined=mined_cards(record, queries, album, seed=_SEED),
        tables=[*chain(*map(judged_tables, pairs)), _epochs(record, ranked.chance)],
        photo_note=album.note,
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


def _facts(run: RunRecord, dataset: Dataset) -> list[tuple[str, str]]:
    """When, where and on what the run was trained, as far as it is on record."""
    days = [datetime.fromisoformat(one.ended) for one in run.epochs if one.ended]
    machines = dict.fromkeys(one.machine for one in run.epochs if one.machine)
    facts = [("Dataset", f"{dataset.root}, {counted(len(dataset.image_ids()), 'photo')}")]
    if days:
        facts.insert(0, ("Trained", _period(days[0], days[-1])))
    if machines:
        facts.append(("Machine", "; ".join(machines)))
    return facts


def _period(first: datetime, last: datetime) -> str:
    """From when to when, the day named once where it is one."""
    day = "%d %B %Y, %H:%M"
    until = last.strftime("%H:%M" if first.date() == last.date() else day)
    return f"{first.strftime(day).lstrip('0')} to {until} UTC"


def _figures(
    run: RunRecord, dataset: Dataset, ranked: _HeldOut, pairs: Sequence[BeforeAfter]
) -> list[Figure]:
    """What was judged comes first, R@1 before all; then what the run was made of."""
    gallery = len({i for ids in dataset.galleries("train").values() for i in ids})
    starved = run.last.metadata.counts.starved
    return [
        *(_judged_figures(pairs[0]) if pairs else _dev_figures(run, ranked)),
        Figure("Training queries", f"{len(run.first):,}", _categories(run.first)),
        Figure(
            "Held-out queries", f"{ranked.queries:,}", f"each among {gallery:,} training images"
        ),
        Figure(
            "Mined negatives",
            f"{len(run.last.negative_ids):,}",
            f"{_kinds(run.last)}; {counted(starved, 'query', 'queries')} starved",
        ),
        Figure("Wall time", _duration(sum(one.seconds for one in run.epochs)), _reached(run)),
    ]


def _judged_figures(pair: BeforeAfter) -> list[Figure]:
    before, after, chance = pair.before.figures, pair.after.figures, pair.after.chance
    return [
        Figure(
            f"{name.capitalize()} on {pair.name}",
            f"{before[name]:.1f} → {after[name]:.1f}",
            f"percent; plain sum → trained; chance {chance[name]:.1f}",
        )
        for name in (*_RECALLS, "headline")
    ]


def _dev_figures(run: RunRecord, ranked: _HeldOut) -> list[Figure]:
    return [
        Figure(
            f"{name.capitalize()}, held-out queries",
            _change(run, name),
            f"percent; plain sum → epoch {run.best_epoch}; chance {ranked.chance[name]:.1f}",
        )
        for name in (*_RECALLS, "headline")
    ]


def _kinds(manifest: Manifest) -> str:
    """Which kinds a manifest's negatives are, the most frequent first."""
    codes = manifest.negative_kinds.tolist()
    shares = {kind: codes.count(code) / max(len(codes), 1) for code, kind in enumerate(KINDS)}
    named = sorted((kind for kind in KINDS if shares[kind] >= 0.0005), key=lambda k: -shares[k])
    if len(named) == 1:
        return f"all {named[0]}"
    return ", ".join(f"{100 * shares[kind]:.1f} % {kind}" for kind in named)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _reached(run: RunRecord) -> str:
    epochs = counted(run.epochs[-1].epoch, "epoch")
    return run.unfinished or f"{epochs}, with evaluation and mining"


def _category_charts(ranked: _HeldOut, pairs: Sequence[BeforeAfter]) -> list[Any]:
    """Recall by category of what was judged, or of the held-out queries."""
    if pairs:
        both = (pairs[0].before, pairs[0].after)
        before, after = (
            {name: values["recall"]["R@10"] for name, values in each.categories.items()}
            for each in both
        )
        return category_chart(before, after, f"on {pairs[0].name}")
    before, after = (
        {c.category: c.figures()["R@10"] for c in recalls(ranks, name).categories}
        for name, ranks in (("sum", ranked.before), ("combiner", ranked.after))
    )
    return category_chart(before, after, "on held-out queries")


def _epochs(run: RunRecord, chance: Mapping[str, float]) -> PageTable:
    """Every epoch in figures."""
    strategies = {mined.epoch: mined.strategy for mined in run.mined.epochs}
    several = len(set(strategies.values())) > 1
    losses = list(losses_by_name(run.epochs))
    columns = ["epoch", *_RECALLS, "headline", *losses, "active"]
    columns += [*["mined after it"] * several, "seconds"]
    blank = [""] * (len(losses) + 2 + several)
    rows = [
        [
            f"{one.epoch}, the best" if one.epoch == run.best_epoch else str(one.epoch),
            *_recalls(one.dev),
            *(f"{one.losses[name]:.4f}" if name in one.losses else "" for name in losses),
            "" if one.active_share is None else f"{one.active_share:.0%}",
            *[strategies.get(one.epoch, "")] * several,
            f"{one.seconds:.1f}",
        ]
        for one in run.epochs
    ]
    plain = [PLAIN_SUM, *_recalls(run.plain_sum), *blank]
    by_chance = ["chance", *_recalls(chance), *blank]
    notes = ["Recalls are those of held-out queries, in percent."]
    return PageTable("Epochs", columns, [by_chance, plain, *rows], notes)


def _recalls(dev: Mapping[str, float]) -> list[str]:
    return percents({name: dev[name] for name in (*_RECALLS, "headline")})


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
        "encoder weights": metadata.provenance.weights_sha256,
        "embedding store": embeddings.sha256,
        "best checkpoint": run.checkpoint.sha256,
        "images skipped": len(embeddings.skipped),
        "cir": metadata.cir_version,
    }
    groups = {
        "Provenance": origin,
        "Training": {**run.config, **_effective(run)},
        "Mining": run.first.metadata.options,
    }
    return [(name, [(k, shown(v)) for k, v in values.items()]) for name, values in groups.items()]


def _effective(run: RunRecord) -> dict[str, Any]:
    """What settings that were left to a default came to."""
    config, values = run.config, dict[str, Any]()
    if config.get("learning_rate", 0) is None:
        rate = TrainConfig.default_rate(config["combiner"])
        values["learning_rate"] = f"{rate:g}, the default of {config['combiner']}"
    if config.get("clip_learning_rate", 0) is None and config.get("tune", "none") != "none":
        model = run.checkpoint.metadata.provenance.model
        values["clip_learning_rate"] = f"what was the default of {model}"
    if config.get("hidden", 0) is None and run.checkpoint.metadata.hidden is not None:
        values["hidden"] = f"{run.checkpoint.metadata.hidden}, the default"
    machine = run.epochs[-1].machine
    if config.get("device") == "auto" and machine:
        values["device"] = f"auto: {machine}"
    return values


def _rank_held_out(
    folder: Path,
    run: RunRecord,
    dataset: Dataset,
    embeddings: Embeddings,
    device: torch.device,
    workers: int,
    progress: Progress,
) -> _HeldOut:
    """Ranks the dev queries, which training has seen nothing of."""
    dev = held_out(folder, run.config, dataset, embeddings)
    galleries = dataset.galleries("train")
    evaluator = Evaluator(
        dev, galleries, embeddings, [standard_protocol(dataset.form, "train")], device=device
    )
    tuned = as_tuned(
        embeddings,
        run.checkpoint,
        dataset,
        dev,
        chain(*galleries.values()),
        device=device,
        workers=workers,
        progress=progress,
    )
    trained = composer_of(run.checkpoint).combiner
    before, after = (
        evaluator.judge(vectors, combiner, listed=SHOWN_IMAGES)[0]
        for vectors, combiner in ((embeddings, SumCombiner()), (tuned, trained))
    )
    examples = draw_examples(before, after, seed=_SEED)
    return _HeldOut(before, after, examples, recalls(before, PLAIN_SUM).chance_figures())
