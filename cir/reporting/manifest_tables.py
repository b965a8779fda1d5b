"""A manifest's figures as tables that fit a screen of 80 columns."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from jaxtyping import Int64, Shaped

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_statistics import (
    Hubness,
    bands_by_category,
    gaps,
    hardest,
    kinds_by_scope,
    log_bounds,
    log_counts,
    nearest_negatives,
    num_negatives,
    places_in_band,
    starved,
    tells_starved,
)
from cir.reporting.pages import PageTable
from cir.reporting.text_bars import NARROW, WIDE, bar_table, text_histogram
from cir.types import KINDS, SCOPES

HARDEST: Final = 10
"""Rows that are named as the hardest."""
MOST_USED: Final = 10
"""Images that are named as the most used."""
PERCENTILES: Final = (5, 25, 50, 75, 95)
SPREAD: Final = ("", "mean", *(f"{p} %" for p in PERCENTILES))
"""Columns of `spread`."""
_DROPPED_TOO: Final = "cir mine also counts the starved queries that it dropped."
SHARES_UNTOLD: Final = (
    "An earlier cir wrote this file, which does not tell the queries of which one share alone fell "
    "short."
)
_TENTHS: Final = 10
TARGETS, NEGATIVES = "targets", "negatives"
DISTANCE: Final = "cosine distance"


def tables_of_manifest(manifest: Manifest, hubs: Hubness) -> list[PageTable]:
    """Everything about one manifest, in the order of reading."""
    return [
        counts_table(manifest, hubs),
        distances_table(manifest),
        text_histogram("Distance from the query", DISTANCE, distances(manifest), signed=False),
        kinds_table(manifest),
        places_table(manifest),
        ranks_table({"queries": manifest}),
        starved_table(manifest),
        hubs_table(manifest, hubs),
        hardest_table(manifest),
    ]


def described(manifest: Manifest) -> str:
    """How a manifest was mined, in one line."""
    metadata = manifest.metadata
    return (
        f"{metadata.strategy} negatives of {len(manifest):,} queries ({metadata.query}), "
        f"split {metadata.split}, epoch {metadata.epoch}, {metadata.provenance.model}"
    )


def counts_table(manifest: Manifest, hubs: Hubness) -> PageTable:
    """What the rows hold, beside what mining counted."""
    of_rows = {
        "queries": len(manifest),
        "starved": int(starved(manifest).sum()) if tells_starved(manifest) else None,
        "categories": len(set(manifest.categories)),
        "negatives": len(manifest.negative_ids),
        "images used as negatives": len(hubs.ids),
        "images never used": hubs.never_used,
    }
    mined = asdict(manifest.metadata.counts)
    rows = [
        (name.replace("_", " "), _number(of_rows.get(name)), _number(mined.get(name)))
        for name in dict.fromkeys((*of_rows, *mined))
        if of_rows.get(name) is not None or name in mined
    ]
    note = _DROPPED_TOO if tells_starved(manifest) else SHARES_UNTOLD
    notes = () if of_rows["starved"] == mined.get("starved") else (note,)
    return PageTable("Counts", ("", "of the rows", "counted by cir mine"), rows, notes)


def distances_table(manifest: Manifest) -> PageTable:
    """Distances, ranks and bands: means and percentiles."""
    rows = [
        spread("target distance", manifest.target_distances, "{:.3f}"),
        spread("negative distance", manifest.negative_distances, "{:.3f}"),
        spread("negative - target", gaps(manifest), "{:+.3f}"),
        spread("target rank", manifest.target_ranks, "{:,.0f}"),
        spread("candidates in band", manifest.candidates_in_band, "{:,.0f}"),
        spread("negatives a query", manifest.negative_counts, "{:,.1f}"),
    ]
    return PageTable("Distances and ranks", SPREAD, rows)


def spread(name: str, values: Shaped[np.ndarray, " values"], form: str) -> tuple[str, ...]:
    """A row of `SPREAD`: the mean and the percentiles of some values."""
    figures = (values.mean(), *np.percentile(values, PERCENTILES))
    return (name, *(form.format(figure) for figure in figures))


def distances(manifest: Manifest) -> dict[str, Any]:
    """The two samples whose distributions mining is about."""
    return {TARGETS: manifest.target_distances, NEGATIVES: manifest.negative_distances}


def kinds_table(manifest: Manifest) -> PageTable:
    """The share of negatives of each scope and kind."""
    cells = kinds_by_scope(manifest)
    rows = [
        shares_row(scope, counts, int(cells.sum()))
        for scope, counts in zip(SCOPES, cells, strict=True)
        if counts.any()
    ]
    whole = shares_row("all", cells.sum(axis=0), int(cells.sum()))
    title = "Negatives by scope and kind"
    return PageTable(title, ("scope", *KINDS, "all"), [*rows, whole] if len(rows) > 1 else rows)


def places_table(manifest: Manifest) -> PageTable:
    """The share of semi-hard negatives in each tenth of the band, from the target on."""
    places = places_in_band(manifest)
    tenths = np.clip((places * _TENTHS).astype(np.int64), 0, _TENTHS - 1)
    counts = np.bincount(tenths, minlength=_TENTHS)
    shares = counts / max(len(places), 1)
    labels = [f"{(tenth + 1) / _TENTHS:g}" for tenth in range(_TENTHS)]
    drawn = bar_table("Place in the semi-hard band", (), labels, [shares], WIDE)
    rows = drawn.rows if len(places) else []
    note = f"0: at the target, 1: farther by the margin of {manifest.metadata.margin:g}."
    return PageTable(drawn.title, ("up to", "negatives"), rows, (note,) if rows else ())


def shares_row(name: str, cells: Int64[np.ndarray, " kinds"], whole: int) -> tuple[str, ...]:
    """Counts as percentages of `whole`, and their sum."""
    return (name, *(percent(count / whole) for count in (*cells, cells.sum())))


def ranks_table(manifests: Mapping[str, Manifest]) -> PageTable:
    """The rank of the target in logarithmic bins, by name of the manifest.

    A bin reaches from the bound above it to its own; `so far` adds up the bins down to it.
    """
    bounds = log_bounds(max(int(m.target_ranks.max()) for m in manifests.values()))
    shares = [log_counts(m.target_ranks, bounds) / len(m) for m in manifests.values()]
    width = WIDE if len(manifests) == 1 else NARROW
    drawn = bar_table("Rank of the target", (), [f"{b:,}" for b in bounds], shares, width)
    so_far = [[percent(s) for s in np.cumsum(column)] for column in shares]
    columns = [cell for name in manifests for cell in (name, "so far")]
    rows = [
        (name, *(cell for pair in zip(bars, summed, strict=True) for cell in pair))
        for (name, *bars), *summed in zip(drawn.rows, *so_far, strict=True)
    ]
    return PageTable(drawn.title, ("up to", *columns), rows)


def percent(share: float) -> str:
    """A share in 0..1 as percent."""
    return f"{100 * share:.1f} %"


def starved_table(manifest: Manifest) -> PageTable:
    """Queries of each category whose band was too small."""
    bands = bands_by_category(manifest)
    rows = [
        (
            *(b.category, f"{b.queries:,}", f"{b.starved:,}", percent(b.share)),
            f"{b.median_in_band:,.0f}",
        )
        for b in bands
    ]
    note = f"Starved: the band, or that of a share, held too few for {num_negatives(manifest)}."
    columns = ("category", "queries", "starved", "share", "in band, median")
    notes = (note,) if tells_starved(manifest) else (note, SHARES_UNTOLD)
    return PageTable("Starved queries by category", columns, rows, notes)


def hubs_table(manifest: Manifest, hubs: Hubness) -> PageTable:
    """The images that are negatives most often, and how unevenly images are used."""
    rows = [
        (image_id, f"{count:,}", percent(count / len(manifest)))
        for image_id, count in zip(hubs.ids[:MOST_USED], hubs.counts.tolist(), strict=False)
    ]
    return PageTable(
        "Most used negatives",
        ("image", "times", "of queries"),
        rows,
        hub_notes(hubs),
    )


def hub_notes(hubs: Hubness) -> tuple[str, ...]:
    """How unevenly images are used, and over which images that was measured."""
    images = len(hubs.population)
    notes = (
        f"The most used 1 % of {images:,} images take {percent(hubs.top_share)} of all negatives.",
        f"Skewness of how often each of them is used: {hubs.skewness:.2f} (0: evenly).",
    )
    if hubs.gallery_size is not None:
        return notes
    return (*notes, "Images never used are unknown here: counting them takes the dataset.")


def hardest_table(manifest: Manifest) -> PageTable:
    """The rows whose nearest negative stands farthest inside the target."""
    nearest = nearest_negatives(manifest)
    columns = ("query", "target", "negative", "d(q,t)", "d(q,n)", "gap")
    rows = [
        (
            manifest.query_ids[row],
            manifest.target_ids[row],
            _nearest_id(manifest, int(row)),
            f"{manifest.target_distances[row]:.3f}",
            f"{nearest[row]:.3f}",
            f"{nearest[row] - manifest.target_distances[row]:+.4f}",
        )
        for row in hardest(manifest, HARDEST)
    ]
    note = "gap: distance to the nearest negative minus distance to the target"
    return PageTable(f"The {len(rows)} hardest rows", columns, rows, (note,))


def _nearest_id(manifest: Manifest, row: int) -> str:
    positions = manifest.negative_positions.of(row)
    nearest = int(positions[manifest.negative_distances[positions].argmin()])
    return manifest.negative_ids[nearest]


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "" if value is None else str(value)
