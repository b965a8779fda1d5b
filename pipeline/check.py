"""`cir data check`: audit a dataset folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from cir import arguments
from cir.artefacts.photo_states import PhotoChanges, compare_bytes
from cir.artefacts.store import read_embeddings
from cir.config import CheckConfig
from cir.data.audit import Audit, audit
from cir.data.dataset import Dataset
from cir.data.image_files import outside_every_split
from cir.data.remainder import SplitRemainder, rank_in_whole, remainder, write_remainder
from cir.data.soundness import outside_split
from cir.disk.files import write_json
from cir.evaluation.recall import HEADLINE_CUTOFFS, PUBLISHED_GALLERIES
from cir.machine.workers import pick_workers
from cir.names import LEFT_OUT_FILE
from cir.reporting.pages import counted
from pipeline.command.claims import claims_outputs
from pipeline.screen import console

_SHOWN = 5
"""Faults of a sort that are printed; `json` has them all."""


@claims_outputs
def run(config: CheckConfig) -> bool:
    """Prints what the dataset holds and lacks; whether every stage finds what it needs.

    Where a folder without what is missing is written, that is what stages are to be given.
    """
    arguments.instance("config", config, CheckConfig)
    dataset = Dataset(config.dataset)
    workers, progress = pick_workers(config.workers), console.RichProgress()
    report = audit(dataset, images=config.images, workers=workers, progress=progress)
    stale = _compared(config, dataset)
    _tell(config, dataset, report, stale)
    if config.without_missing:
        write_remainder(dataset, report, config.without_missing)
        console.note(
            f"{config.without_missing}: what is left, with {LEFT_OUT_FILE} of what is not; its "
            f"folders of photos are links to those of {config.dataset}, so broken files lie there "
            f"and are in no split"
        )
    return not stale and (report.complete or config.without_missing is not None)


def _compared(config: CheckConfig, dataset: Dataset) -> PhotoChanges | None:
    """How the photos differ from those of the store, where one is given."""
    if config.embeddings is None:
        return None
    embeddings = read_embeddings(config.embeddings)
    return compare_bytes(embeddings, dataset, progress=console.RichProgress())


def _tell(config: CheckConfig, dataset: Dataset, report: Audit, stale: PhotoChanges | None) -> None:
    """Prints and writes what was found."""
    hurt = report.images_opened and not report.complete
    left = remainder(dataset, report.absent) if hurt else ()
    if config.json:
        compared = {} if stale is None else {"embeddings": asdict(stale)}
        every = {"left": [asdict(part) for part in left]} | compared
        write_json(config.json, report.to_json() | every)
    _print_counts(report)
    _print_notes(report)
    _print_left(left)
    # Where what is left is written, the command does what it was asked to: nothing has failed.
    _print_faults(report, console.note if config.without_missing else console.fail)
    if stale is not None:
        _print_stale(config, stale)


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
        f"{counted(report.images, 'image')}, {report.images_in_queries:,} of them named in captions"
    )
    for split in report.in_several_categories:
        queries = sum(s.queries for s in report.splits if s.split == split)
        several = report.in_several_categories[split]
        console.note(
            f"{split}: {counted(queries, 'query', 'queries')}; {counted(several, 'image')} in "
            f"several categories"
        )
    outside = sum(s.outside_subset for s in report.splits)
    if outside:
        without = counted(outside, "query", "queries")
        console.note(f"{without} with a target that is not in the subset")
    console.note(f"{counted(report.val_targets_seen_in_train, 'target')} of val also in train")
    if report.images_opened:
        groups = counted(len(report.duplicates), "group")
        console.note(f"{groups} of images with the same bytes")
    if report.unlisted:
        console.note(outside_every_split(report.unlisted))


def _print_left(left: Sequence[SplitRemainder]) -> None:
    """What splits keep without the images that are missing or broken, and what that means."""
    if not left:
        return
    console.table(
        "What is left without the images that are missing or broken",
        ("category", "split", "images left", "of", "queries left", "of"),
        [
            (
                *(part.category, part.split, f"{part.images:,}", f"{part.images_whole:,}"),
                *(f"{part.queries:,}", f"{part.queries_whole:,}"),
            )
            for part in left
        ],
    )
    if lost := sum(part.targets_lost for part in left):
        console.note(f"{counted(lost, 'target')} gone from queries that have others")
    if cut := sum(part.subsets_cut for part in left):
        console.note(f"{counted(cut, 'query', 'queries')} with a smaller subset")
    for line in _comparability([part for part in left if part.split == "val"]):
        console.note(line)


def _comparability(val: Sequence[SplitRemainder]) -> Iterator[str]:
    """How far figures on what is left of val can be compared with others."""
    left, whole = sum(part.images for part in val), sum(part.images_whole for part in val)
    if left == whole and val:
        yield "val is whole: its figures can be compared with those of others"
    elif left:
        share = left / whole
        ranks = [rank_in_whole(k, share) for k in HEADLINE_CUTOFFS]
        stands = " and ".join(
            f"R@{k} for R@{rank:.1f}" for k, rank in zip(HEADLINE_CUTOFFS, ranks, strict=True)
        )
        yield (
            f"val keeps {left:,} of {whole:,} gallery images, {share:.1%}: a smaller gallery is "
            f"easier. If they are gone by chance, {stands} of the whole: compare such figures with "
            f"others on the same images"
        )
    published = PUBLISHED_GALLERIES["full"]
    if {part.category for part in val} == published.keys():
        sizes = ", ".join(f"{count:,} {category}" for category, count in published.items())
        yield f"published figures are of val galleries of {sizes}"


def _print_faults(report: Audit, tell: Callable[[str], None]) -> None:
    for file, ids in report.unknown.items():
        tell(outside_split(file, ids))
    for line in report.closed_folders:
        tell(line)
    if report.missing:
        tell(_some(f"{counted(len(report.missing), 'image')} missing", report.missing))
    if report.broken:
        broken = tuple(report.broken.values())
        tell(_some(f"{counted(len(broken), 'image')} broken", broken))
    if report.complete:
        whole = "every stage finds what it needs"
        gallery = "every image is there; without queries it is a gallery to search in"
        console.note(f"complete: {whole if report.images_in_queries else gallery}")


def _print_stale(config: CheckConfig, stale: PhotoChanges) -> None:
    """How the photos differ from those that the store was made of."""
    if stale.left_out:
        left_out = counted(len(stale.left_out), "photo")
        why = "left out by the store, or added or removed while it was served, so not compared"
        console.note(_some(f"{left_out} {why}", stale.left_out))
    for ids, what in (
        (stale.changed, "with other bytes than when embedded"),
        (stale.gone, "of the store gone"),
        (stale.new, "not in the store"),
    ):
        if ids:
            console.fail(_some(f"{counted(len(ids), 'photo')} {what}", ids))
    if not stale:
        others = " other" if stale.left_out else ""
        console.note(f"{config.embeddings} holds every{others} photo as it is, byte for byte")


def _some(headline: str, items: tuple[str, ...]) -> str:
    rest = f" and {len(items) - _SHOWN:,} more (`json=FILE` lists all)" * (len(items) > _SHOWN)
    return f"{headline}: {', '.join(items[:_SHOWN])}{rest}"
