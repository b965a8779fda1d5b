"""What `cir evaluate` says: recalls under protocols, and what changes from one run to another."""

from collections.abc import Sequence

from cir.evaluation.comparison import MEAN, Compared, PairedComparison
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import Evaluation
from pipeline.screen import console


def print_evaluations(evaluations: Sequence[Evaluation], mark: str = "") -> None:
    """The categories under the first protocol, then the means under each of several.

    Args:
        evaluations: Of one way to compose queries, one a protocol.
        mark: What stands behind every title.
    """
    first = evaluations[0]
    rows = [
        (c.category, f"{c.queries:,}", f"{c.gallery_size:,}", *_cells(c.figures()))
        for c in first.categories
    ]
    if len(rows) > 1:
        rows.append(("mean", f"{first.queries:,}", "", *_cells(first.figures())))
    rows.append(("chance", "", "", *_cells(first.chance_figures())))
    title = f"{first.title}{mark}"
    console.table(title, ("category", "queries", "gallery", *first.figures()), rows)
    if len(evaluations) > 1:
        _print_protocols(evaluations, mark)
    for line in dict.fromkeys(note for each in evaluations for note in each.notes()):
        console.note(line)


def _print_protocols(evaluations: Sequence[Evaluation], mark: str) -> None:
    split = evaluations[0].protocol.split
    console.table(
        f"split {split}: means over categories under each protocol{mark}",
        ("gallery", "reference", "captions", *evaluations[0].figures()),
        [
            (*_rules(evaluation.protocol), *_cells(evaluation.figures()))
            for evaluation in evaluations
        ],
    )


def _rules(protocol: Protocol) -> tuple[str, str, str]:
    return protocol.gallery, protocol.reference, protocol.captions


def _cells(figures: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in figures.values())


def print_comparison(comparison: PairedComparison, title: str) -> None:
    """Every measure before and after, and whether the headline moves."""
    console.table(
        title,
        ("category", "measure", "before", "after", "change", "95 % interval", "p"),
        [
            (
                *(row.category, row.measure, f"{row.before:.2f}", f"{row.after:.2f}"),
                f"{row.change.difference:+.2f}",
                f"{row.change.low:+.2f} to {row.change.high:+.2f}",
                f"{row.change.p:.4f}",
            )
            for row in _without_repeats(comparison.rows)
        ],
    )
    headline = next(
        row for row in comparison.rows if (row.category, row.measure) == (MEAN, "headline")
    )
    change = headline.change
    beyond = "more" if change.low > 0 or change.high < 0 else "no more"
    console.note(
        f"the headline moves by {change.difference:+.2f}, {beyond} than the choice of "
        f"queries explains: {comparison.resamples:,} draws of "
        f"{comparison.references:,} references, each with all its queries"
    )


def _without_repeats(rows: Sequence[Compared]) -> list[Compared]:
    """All rows; of a single category without the means, which are the same."""
    several = len({row.category for row in rows} - {MEAN}) > 1
    of_category = {row.measure for row in rows if row.category != MEAN}
    return [
        row for row in rows if several or row.category != MEAN or row.measure not in of_category
    ]
