"""A manifest, or two compared, as one HTML page that needs nothing beside itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison
from cir.artefacts.manifest_metadata import ManifestMetadata
from cir.artefacts.manifest_statistics import Hubness, starved, tells_starved
from cir.data.dataset import Dataset
from cir.reporting import comparison_tables, manifest_tables
from cir.reporting.album import Album, Photo
from cir.reporting.cards import Card
from cir.reporting.manifest_charts import comparison_charts, manifest_charts
from cir.reporting.manifest_tables import MOST_USED, described, percent
from cir.reporting.pages import Figure, counted, shown, write_page
from cir.reporting.triplets import (
    CHANGED_TAG,
    HARDEST_TAG,
    STARVED_TAG,
    comparison_triplets,
    manifest_triplets,
)
from cir.types import KINDS

_TEMPLATE: Final = "manifest.html.j2"


@dataclass(frozen=True)
class Shown:
    """What a page shows of all there is."""

    rows: int
    photos: int
    note: str | None
    """What a reader should know of photos that are left out."""


@dataclass(frozen=True)
class _Hub:
    """An image that many queries have as a negative."""

    photo: Photo
    times: str
    share: str


@dataclass(frozen=True)
class _Filter:
    """A choice of rows: the name of its field, its label, and (value, rows) of each choice."""

    name: str
    label: str
    choices: Sequence[tuple[str, int]]


def write_manifest_page(
    path: Path,
    manifest: Manifest,
    hubs: Hubness,
    dataset: Dataset | None,
    *,
    name: str,
    rows: int,
    command: str = "",
) -> Shown:
    """Writes the page of one manifest.

    Args:
        path: The HTML file to write; one that is there is replaced.
        manifest: What is shown.
        hubs: Its `hubness`.
        dataset: Whose photos are shown; None for ids alone.
        name: The page's heading.
        rows: Queries shown, at most.
        command: What writes the page again, for the reader.

    Raises:
        CirError: the file cannot be written.
    """
    album = Album(dataset)
    triplets = manifest_triplets(manifest, album, rows)
    return _write(
        path,
        album,
        triplets,
        of=len(manifest),
        title=name,
        subtitle=described(manifest),
        command=command,
        facts=_facts(dataset),
        notes=[],
        figures=_figures(manifest, hubs),
        charts=manifest_charts(manifest, hubs),
        about=f"Over all {len(manifest):,} queries.",
        chosen="the hardest first",
        hubs=_hubs(manifest, hubs, album),
        hub_notes=manifest_tables.hub_notes(hubs),
        tables=[
            manifest_tables.distances_table(manifest),
            manifest_tables.kinds_table(manifest),
            manifest_tables.starved_table(manifest),
            manifest_tables.counts_table(manifest, hubs),
        ],
        foremost=HARDEST_TAG,
        settings=[
            ("Mining", _pairs(manifest.metadata.options)),
            ("Origin", _pairs(_origin(manifest.metadata))),
        ],
    )


def write_comparison_page(
    path: Path,
    first: Manifest,
    second: Manifest,
    joined: ManifestComparison,
    dataset: Dataset | None,
    *,
    names: tuple[str, str],
    rows: int,
    command: str = "",
) -> Shown:
    """Writes the page of two manifests.

    Args:
        path: The HTML file to write; one that is there is replaced.
        first: The manifest before.
        second: The manifest after.
        joined: Their `compare_manifests`, with a query in common.
        dataset: Whose photos are shown; None for ids alone.
        names: The names of the two manifests in the page.
        rows: Queries shown, at most.
        command: What writes the page again, for the reader.

    Raises:
        CirError: the file cannot be written.
    """
    album = Album(dataset)
    triplets = comparison_triplets(joined, album, rows)
    return _write(
        path,
        album,
        triplets,
        of=len(joined),
        title=" → ".join(names),
        subtitle=f"Negatives of {len(joined):,} queries in common, before and after",
        command=command,
        facts=_facts(dataset),
        notes=comparison_tables.comparison_notes(first, second),
        figures=_changes(joined),
        charts=comparison_charts(joined),
        about=f"Over the {len(joined):,} queries in common: same id, category, reference, target.",
        chosen="those that changed most first",
        hubs=[],
        hub_notes=[],
        tables=[
            comparison_tables.turnover_table(joined),
            comparison_tables.changes_table(joined),
            comparison_tables.kinds_change_table(joined),
            comparison_tables.starved_change_table(joined),
            comparison_tables.changed_table(joined),
            comparison_tables.queries_table(first, second, joined),
            comparison_tables.differences_table(first, second),
        ],
        foremost=CHANGED_TAG,
        settings=[
            (f"Mining, {name}", _pairs(_origin(m.metadata) | m.metadata.options))
            for name, m in zip(("before", "after"), (first, second), strict=True)
        ],
    )


def _write(
    path: Path, album: Album, triplets: Sequence[Card], *, foremost: str, **values: Any
) -> Shown:
    """Fills the template that both pages share."""
    write_page(
        path,
        _TEMPLATE,
        pictures=len(album),
        photo_note=album.note,
        triplets=triplets,
        filters=_filters(triplets, foremost),
        **values,
    )
    return Shown(len(triplets), len(album), album.note)


def _facts(dataset: Dataset | None) -> list[tuple[str, str]]:
    """Where the photos are from."""
    if dataset is None:
        return []
    return [("Dataset", f"{dataset.root}, {counted(len(dataset.image_ids()), 'photo')}")]


def _filters(triplets: Sequence[Card], foremost: str) -> list[_Filter]:
    """What the rows of a page can be filtered by; what no row has is no choice."""
    categories = Counter(triplet.category for triplet in triplets)
    kinds = Counter(kind for triplet in triplets for kind in triplet.kinds)
    tags = Counter(tag.text for triplet in triplets for tag in triplet.tags)
    return [
        _Filter("category", "Category", _choices(categories, sorted(categories))),
        _Filter("kind", "Kind", _choices(kinds, KINDS)),
        _Filter("tag", "Rows", _choices(tags, (foremost, STARVED_TAG))),
    ]


def _choices(counts: Counter[str], order: Sequence[str]) -> list[tuple[str, int]]:
    return [(value, counts[value]) for value in order if counts[value]]


def _hubs(manifest: Manifest, hubs: Hubness, album: Album) -> list[_Hub]:
    pairs = zip(hubs.ids[:MOST_USED], hubs.counts.tolist(), strict=False)
    return [
        _Hub(album.photo(image_id), f"{count:,}×", f"{percent(count / len(manifest))} of queries")
        for image_id, count in pairs
    ]


def _figures(manifest: Manifest, hubs: Hubness) -> list[Figure]:
    targets, negatives = manifest.target_distances, manifest.negative_distances
    ranks = manifest.target_ranks
    return [
        Figure(
            "Queries",
            f"{len(manifest):,}",
            f"in {counted(len(set(manifest.categories)), 'category', 'categories')}",
        ),
        Figure("Negatives", f"{len(negatives):,}", f"{counted(len(hubs.ids), 'image')}"),
        Figure("Distance to target", f"{targets.mean():.3f}", f"median {np.median(targets):.3f}"),
        Figure(
            "Distance to negatives", f"{negatives.mean():.3f}", f"median {np.median(negatives):.3f}"
        ),
        Figure("Rank of target", f"{np.median(ranks):,.0f}", f"median; mean {ranks.mean():,.0f}"),
        _starved_figure(manifest),
        Figure("Top 1 % take", percent(hubs.top_share), "of all negatives"),
        Figure("Hubness", f"{hubs.skewness:.2f}", "skewness of how often images are used"),
    ]


def _starved_figure(manifest: Manifest) -> Figure:
    if not tells_starved(manifest):
        return Figure("Starved", f"{manifest.metadata.counts.starved:,}", "counted by cir mine")
    short = starved(manifest)
    return Figure("Starved", f"{short.sum():,}", f"{percent(short.mean())} of the queries")


def _changes(joined: ManifestComparison) -> list[Figure]:
    turnover, both = joined.turnover.values, (joined.before, joined.after)
    unchanged = int((turnover == 0).sum())
    short = [int(starved(manifest).sum()) for manifest in both]
    return [
        Figure("Queries in common", f"{len(joined):,}", "all figures are of these"),
        Figure("Turnover", f"{turnover.mean():.2f}", "mean of 1 - Jaccard of the negatives"),
        Figure("Unchanged", f"{unchanged:,}", "queries with the same negatives"),
        Figure("Starved", f"{short[0]:,} → {short[1]:,}", "queries"),
        Figure("Distance to target", _means([m.target_distances for m in both], 3), "mean"),
        Figure("Distance to negatives", _means([m.negative_distances for m in both], 3), "mean"),
        Figure("Rank of target", _means([m.target_ranks for m in both], 0), "mean"),
        Figure("Hard negatives", _hard(both), "of all negatives"),
    ]


def _means(samples: Sequence[Shaped[np.ndarray, " _"]], digits: int) -> str:
    """The mean of each sample, from the first to the last."""
    return " → ".join(f"{sample.mean():,.{digits}f}" for sample in samples)


def _hard(manifests: Sequence[Manifest]) -> str:
    hard = KINDS.index("hard")
    return " → ".join(percent((m.negative_kinds == hard).mean()) for m in manifests)


def _origin(metadata: ManifestMetadata) -> dict[str, Any]:
    return {
        "query": metadata.query,
        "split": metadata.split,
        "epoch": metadata.epoch,
        "encoder": metadata.provenance.model,
        "pretrained": metadata.provenance.pretrained,
        "embedding store": metadata.embeddings_sha256,
        "checkpoint": metadata.checkpoint_sha256,
        "cir": metadata.cir_version,
    }


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), shown(value)) for name, value in values.items()]
