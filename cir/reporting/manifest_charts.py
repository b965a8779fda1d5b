"""The figures of a manifest, or the changes between two, as charts."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Int64
from markupsafe import Markup

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import ManifestComparison
from cir.artefacts.manifest_statistics import (
    Hubness,
    bands_by_category,
    gaps,
    kinds_by_scope,
    log_bounds,
    log_counts,
    num_negatives,
)
from cir.reporting.charts import distributions, grouped_bars, lying_bars
from cir.reporting.comparison_tables import AFTER, BEFORE, CHANGE, changes
from cir.reporting.gaps import gap_chart
from cir.reporting.manifest_tables import DISTANCE, NEGATIVES, distances, percent
from cir.reporting.pages import Chart
from cir.reporting.svg import C1, C2, C3, C4
from cir.types import KINDS, SCOPES

_KIND_COLOURS: Final = (C3, C2, C4)
_EVERY: Final = "all queries"
_SUFFIXES: Final = ((10**6, "M"), (10**3, "k"))
_WORTH_DRAWING: Final = 0.01
"""Share of queries, or of negatives, that is seen in a chart."""
_SCALE: Final = 0.1
"""Where the scale of that chart ends at least."""


def manifest_charts(manifest: Manifest, hubs: Hubness) -> list[Chart]:
    """Every chart of one manifest."""
    return [
        *_distance_charts({_EVERY: manifest}),
        _gap_chart(manifest),
        _rank_chart({"queries": manifest}, (C1,)),
        *_scope_charts(manifest),
        _band_chart(manifest),
        _hub_chart(hubs),
        *_starved_chart(manifest),
    ]


def comparison_charts(joined: ManifestComparison) -> list[Chart]:
    """Every chart of two manifests."""
    both = {BEFORE: joined.before, AFTER: joined.after}
    return [
        *_distance_charts(both),
        _change_chart(joined),
        _turnover_chart(joined),
        _rank_chart(both, (C4, C1)),
        _kind_chart(both),
    ]


def _distance_charts(manifests: Mapping[str, Manifest]) -> list[Chart]:
    """The distances of each manifest, beside those of another where there are two."""
    return [
        Chart(
            "Distance from the query" + (f", {name}" if len(manifests) > 1 else ""),
            "Share of all targets, and of all mined negatives, at each distance.",
            [distributions(distances(manifest), (C1, C2), x_label=DISTANCE)],
        )
        for name, manifest in manifests.items()
    ]


def _gap_chart(manifest: Manifest) -> Chart:
    return gap_chart(
        {NEGATIVES: gaps(manifest)},
        (C2,),
        manifest.metadata.margin,
        title="Negatives against their targets",
    )


def _change_chart(joined: ManifestComparison) -> Chart:
    return Chart(
        "How distances changed",
        "After minus before, of each query; of negatives, the mean over the query's own.",
        [distributions(changes(joined), (C1, C2), x_label=CHANGE)],
    )


def _turnover_chart(joined: ManifestComparison) -> Chart:
    return Chart(
        "Negatives exchanged",
        "0 where a query keeps all of its negatives, 1 where it keeps none.",
        [
            distributions(
                {"queries": joined.turnover.values}, (C1,), x_label="turnover (1 - Jaccard)"
            )
        ],
    )


def _rank_chart(manifests: Mapping[str, Manifest], colours: Sequence[str]) -> Chart:
    bounds = log_bounds(max(int(m.target_ranks.max()) for m in manifests.values()))
    shares = {name: log_counts(m.target_ranks, bounds) / len(m) for name, m in manifests.items()}
    medians = ", ".join(f"{np.median(m.target_ranks):,.0f} {n}" for n, m in manifests.items())
    return Chart(
        "Rank of the target",
        "1 where the target is the nearest of the valid candidates; each bar reaches from the "
        "bound before it to its own.",
        [
            grouped_bars(
                _short(bounds),
                shares,
                colours,
                x_label="rank, up to",
                described=f"rank of the target in logarithmic bins: median {medians}",
            )
        ],
    )


def _scope_charts(manifest: Manifest) -> list[Chart]:
    """Nothing where next to all negatives are of one kind: the table says which."""
    cells = kinds_by_scope(manifest)
    if cells.sum(axis=0).max() > (1 - _WORTH_DRAWING) * cells.sum():
        return []
    scopes = {
        str(scope): counts for scope, counts in zip(SCOPES, cells, strict=True) if counts.any()
    }
    return [
        Chart("Kinds of negatives", "By the scope that they were drawn from.", [_kind_bars(scopes)])
    ]


def _kind_chart(manifests: Mapping[str, Manifest]) -> Chart:
    kinds = {name: kinds_by_scope(m).sum(axis=0) for name, m in manifests.items()}
    return Chart("Kinds of negatives", "Share of all negatives.", [_kind_bars(kinds)])


def _kind_bars(cells: Mapping[str, Int64[np.ndarray, " kinds"]]) -> Markup:
    parts = {
        str(kind): [float(counts[code] / counts.sum()) for counts in cells.values()]
        for code, kind in enumerate(KINDS)
    }
    described = "; ".join(
        f"{name} " + ", ".join(f"{kind} {percent(parts[kind][row])}" for kind in KINDS)
        for row, name in enumerate(cells)
    )
    return lying_bars(
        list(cells),
        parts,
        _KIND_COLOURS,
        x_label="share of negatives",
        described=f"kinds of negatives: {described}",
    )


def _band_chart(manifest: Manifest) -> Chart:
    sizes = manifest.candidates_in_band
    bounds = log_bounds(int(sizes.max()))
    empty = int((sizes == 0).sum())
    queries = np.append(empty, log_counts(sizes[sizes > 0], bounds))
    drawn = grouped_bars(
        ["0", *_short(bounds)],
        {"queries": queries / len(manifest)},
        (C1,),
        x_label="candidates in the band, up to",
        described=f"candidates in the band: median {np.median(sizes):,.0f}, {empty:,} empty bands",
    )
    return Chart(
        "Candidates in the band",
        f"What a query could choose from: fewer than {num_negatives(manifest)} leave it starved.",
        [drawn],
    )


def _starved_chart(manifest: Manifest) -> list[Chart]:
    """Nothing where next to no query is starved: the table says how many are."""
    bands = bands_by_category(manifest)
    if max(band.share for band in bands) < _WORTH_DRAWING:
        return []
    shares = ", ".join(f"{band.category} {percent(band.share)}" for band in bands)
    drawn = lying_bars(
        [band.category for band in bands],
        {"starved": [band.share for band in bands]},
        (C3,),
        x_label="share of queries",
        described=f"starved queries by category: {shares}",
        least_end=_SCALE,
    )
    caption = "Share of each category's queries whose band held fewer candidates than wanted."
    return [Chart("Starved queries", caption, [drawn])]


def _hub_chart(hubs: Hubness) -> Chart:
    """Images by how often they are used, the never used ones first where they are known."""
    bounds = log_bounds(int(hubs.counts.max()))
    images = np.append(hubs.never_used or 0, log_counts(hubs.counts, bounds))
    taken = np.bincount(np.searchsorted(bounds, hubs.counts), hubs.counts, len(bounds))
    shares = {
        "of images": images / images.sum(),
        "of negatives": np.append(0.0, taken / taken.sum()),
    }
    first = 0 if hubs.never_used is not None else 1
    return Chart(
        "How often an image is a negative",
        "Images by the number of their uses, and the share of all negatives that they take.",
        [
            grouped_bars(
                ["0", *_short(bounds)][first:],
                {name: share[first:] for name, share in shares.items()},
                (C4, C2),
                x_label="uses, up to",
                described=f"uses of an image: at most {hubs.counts.max():,}; "
                f"skewness {hubs.skewness:.2f}",
            )
        ],
    )


def _short(bounds: Int64[np.ndarray, " bins"]) -> list[str]:
    """Whole numbers in few characters: 500, 20k, 1M."""
    texts = []
    for bound in bounds.tolist():
        unit, suffix = next(((u, s) for u, s in _SUFFIXES if bound >= u), (1, ""))
        texts.append(f"{bound // unit}{suffix}")
    return texts
