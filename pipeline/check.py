"""`cir data check`: audit a dataset folder."""

from cir import arguments
from cir.config import CheckConfig
from cir.data.audit import Audit, audit
from cir.data.dataset import Dataset
from cir.files import write_json
from cir.workers import pick_workers
from pipeline import console

_SHOWN = 5
"""Faults of a sort that are printed; --json has them all."""


def run(config: CheckConfig) -> bool:
    """Prints what the dataset holds and lacks; whether every stage finds what it needs."""
    arguments.instance("config", config, CheckConfig)
    report = audit(
        Dataset(config.dataset),
        images=config.images,
        workers=pick_workers(config.workers),
        progress=console.RichProgress(),
    )
    _print_counts(report)
    _print_notes(report)
    if config.json:
        write_json(config.json, report.to_json())
    _print_faults(report)
    return report.complete


def _print_counts(report: Audit) -> None:
    console.table(
        f"Splits, in the form of {report.form}",
        (
            *("category", "split", "images", "queries", "in queries"),
            *("siblings", "ambiguous", "empty"),
        ),
        [
            (
                *(s.category, s.split, f"{s.images:,}", f"{s.queries:,}", f"{s.in_queries:,}"),
                *(f"{s.shared_references:,}", f"{s.ambiguous:,}", f"{s.empty_captions:,}"),
            )
            for s in report.splits
        ],
    )


def _print_notes(report: Audit) -> None:
    console.note(
        "in queries: images that queries name; siblings: queries whose reference has other targets "
        "too; ambiguous: the same reference and captions with several targets; empty: queries with "
        "an empty caption"
    )
    console.note(
        f"{report.images:,} images, {report.images_in_queries:,} of them named in captions"
    )
    for split in report.in_several_categories:
        queries = sum(s.queries for s in report.splits if s.split == split)
        several = report.in_several_categories[split]
        console.note(
            f"{split}: {queries:,} queries; {several:,} images stand in several categories"
        )
    outside = sum(s.outside_subset for s in report.splits)
    if outside:
        console.note(f"{outside:,} queries have a target that their subset lacks")
    console.note(f"{report.val_targets_seen_in_train:,} val targets also occur in train")
    if report.images_opened:
        console.note(f"{len(report.duplicates):,} groups of images with the same bytes")


def _print_faults(report: Audit) -> None:
    for file, ids in report.unknown.items():
        _print_some(f"{file} names {len(ids):,} ids that its image split lacks", ids)
    if report.missing:
        _print_some(f"{len(report.missing):,} images are missing", report.missing)
    if report.broken:
        _print_some(f"{len(report.broken):,} images are broken", tuple(report.broken.values()))
    if report.complete:
        console.note("complete: every stage finds what it needs")


def _print_some(headline: str, items: tuple[str, ...]) -> None:
    rest = f" and {len(items) - _SHOWN:,} more (--json FILE lists all)" * (len(items) > _SHOWN)
    console.fail(f"{headline}: {', '.join(items[:_SHOWN])}{rest}")
