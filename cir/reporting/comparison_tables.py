"""Two manifests side by side as tables that fit a screen of 80 columns."""

from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Shaped

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison, differences
from cir.artefacts.manifest_statistics import (
    bands_by_category,
    kinds_by_scope,
    nearest_negatives,
    tells_starved,
)
from cir.reporting.manifest_tables import (
    NEGATIVES,
    PERCENTILES,
    SHARES_UNTOLD,
    SPREAD,
    TARGETS,
    ranks_table,
    shares_row,
    spread,
)
from cir.reporting.pages import PageTable, shown
from cir.reporting.text_bars import text_histogram
from cir.types import KINDS

BEFORE, AFTER = "before", "after"
MOST_CHANGED: Final = 10
"""Queries that are named as the most changed."""
CHANGE: Final = "change of distance"
_OUTER: Final = PERCENTILES[::2]
"""Percentiles that leave room for the means before and after."""
_WORTH_A_NOTE: Final = {
    "split": "mined from different splits",
    "embeddings_sha256": "mined from different embedding stores",
    "query": "queries are composed differently",
    "margin": "margins differ, so kinds mean different bands",
}
"""Differences of the metadata that change what the figures mean."""


def tables_of_comparison(
    first: Manifest, second: Manifest, joined: ManifestComparison
) -> list[PageTable]:
    """Everything about two manifests, in the order of reading."""
    return [
        queries_table(first, second, joined),
        differences_table(first, second),
        turnover_table(joined),
        changes_table(joined),
        text_histogram("Change of distances", CHANGE, changes(joined), signed=True),
        kinds_change_table(joined),
        ranks_table({BEFORE: joined.before, AFTER: joined.after}),
        starved_change_table(joined),
        changed_table(joined),
    ]


def comparison_notes(first: Manifest, second: Manifest) -> list[str]:
    """What makes the two less than comparable, a line each."""
    differing = differences(first.metadata, second.metadata)
    return [
        f"note: {text} ({shown(differing[name][0])}, then {shown(differing[name][1])})"
        for name, text in _WORTH_A_NOTE.items()
        if name in differing
    ]


def queries_table(first: Manifest, second: Manifest, joined: ManifestComparison) -> PageTable:
    """Which queries are compared; all further figures are of those in common."""
    rows = [
        ("queries", f"{len(first):,}", f"{len(second):,}"),
        ("in common", f"{len(joined):,}", f"{len(joined):,}"),
        ("only in this one", f"{joined.only_before:,}", f"{joined.only_after:,}"),
    ]
    return PageTable("Queries", ("", BEFORE, AFTER), rows)


def differences_table(first: Manifest, second: Manifest) -> PageTable:
    """Where the metadata differ."""
    differing = differences(first.metadata, second.metadata)
    rows = [(name, shown(was), shown(now)) for name, (was, now) in differing.items()]
    notes = () if rows else ("Mined with the same options from the same vectors.",)
    return PageTable("What they were mined with", ("option", BEFORE, AFTER), rows, notes)


def turnover_table(joined: ManifestComparison) -> PageTable:
    """How many negatives of a query were exchanged."""
    turnover = joined.turnover
    before, after = turnover.kept + turnover.lost, turnover.kept + turnover.new
    rows = [
        spread("turnover (1 - Jaccard)", turnover.values, "{:.2f}"),
        spread("share kept", turnover.kept / np.maximum(before, 1), "{:.2f}"),
        spread("share new", turnover.new / np.maximum(after, 1), "{:.2f}"),
    ]
    unchanged = int((turnover.values == 0).sum())
    note = f"{unchanged:,} of {len(turnover):,} queries have the same negatives in both."
    return PageTable("Negatives exchanged, of each query", SPREAD, rows, (note,))


def changes_table(joined: ManifestComparison) -> PageTable:
    """How distances and ranks moved, query by query."""
    was, now = joined.before, joined.after
    rows = [
        _moved("target", was.target_distances, now.target_distances, joined.target_changes),
        _moved("negatives", was.negative_distances, now.negative_distances, joined.mean_changes),
        _moved("nearest negative", _nearest(was), _nearest(now), joined.nearest_changes),
        _moved("rank of target", was.target_ranks, now.target_ranks, joined.rank_changes, digits=0),
    ]
    columns = ("distance to", BEFORE, AFTER, "change", *(f"{p} %" for p in _OUTER))
    note = "Means, then percentiles of each query's change; below 0 is nearer than before."
    return PageTable("Distances and ranks", columns, rows, (note,))


def changes(joined: ManifestComparison) -> dict[str, Any]:
    """The two samples that say where training moved things."""
    return {TARGETS: joined.target_changes, NEGATIVES: joined.mean_changes}


def kinds_change_table(joined: ManifestComparison) -> PageTable:
    """The share of negatives of each kind, before and after."""
    rows = []
    for name, manifest in ((BEFORE, joined.before), (AFTER, joined.after)):
        cells = kinds_by_scope(manifest).sum(axis=0)
        rows.append(shares_row(name, cells, int(cells.sum())))
    return PageTable("Negatives by kind", ("", *KINDS, "all"), rows)


def starved_change_table(joined: ManifestComparison) -> PageTable:
    """Queries of each category whose band was too small, before and after."""
    pairs = zip(bands_by_category(joined.before), bands_by_category(joined.after), strict=True)
    rows = [
        (
            *(b.category, f"{b.queries:,}", f"{b.starved:,}", f"{a.starved:,}"),
            f"{a.starved - b.starved:+,}",
        )
        for b, a in pairs
    ]
    columns = ("category", "queries", BEFORE, AFTER, "change")
    told = all(map(tells_starved, (joined.before, joined.after)))
    return PageTable("Starved queries by category", columns, rows, () if told else (SHARES_UNTOLD,))


def changed_table(joined: ManifestComparison) -> PageTable:
    """The queries of the largest turnover, those that changed not at all left out."""
    was, now = joined.before, joined.after
    rows = [
        (
            was.query_ids[row],
            f"{joined.turnover.values[row]:.2f}",
            f"{was.target_distances[row]:.3f}",
            f"{now.target_distances[row]:.3f}",
            f"{was.target_ranks[row]:,}",
            f"{now.target_ranks[row]:,}",
        )
        for row in joined.most_changed(MOST_CHANGED)
    ]
    columns = ("query", "turnover", "d(q,t)", "d after", "rank", "rank after")
    notes = () if rows else ("No query changed.",)
    return PageTable(f"The {len(rows)} queries that changed most", columns, rows, notes)


def _nearest(manifest: Manifest) -> Float64[np.ndarray, " compared"]:
    """The nearest negative of each query that has one."""
    return nearest_negatives(manifest)[manifest.negative_counts > 0]


def _moved(
    name: str,
    was: Shaped[np.ndarray, " before"],
    now: Shaped[np.ndarray, " after"],
    moved: Shaped[np.ndarray, " compared"],
    digits: int = 3,
) -> tuple[str, ...]:
    figures = (moved.mean(), *np.percentile(moved, _OUTER))
    means = (f"{values.mean():,.{digits}f}" for values in (was, now))
    return (name, *means, *(f"{figure:+,.{digits}f}" for figure in figures))
