"""What `cir data from-folder` and `from-catalog` say: on one screen, for any number of categories.

The whole lists are in `catalog.json` of the dataset.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cir.data.dataset import SPLITS
from cir.names import CATALOG_RECORDS
from cir.sources.annotations import CategorySplitCount
from cir.sources.catalog.dataset import CatalogSummary
from pipeline.command.flags import flag
from pipeline.screen import console

_CATEGORIES: Final = 6
"""Categories of their own lines; the others share one."""
_EXAMPLES: Final = 3
"""Things of one kind that are named."""
_NAMES: Final = {"\t": "tab", " ": "space"}


def show_columns(file: Path, summary: CatalogSummary) -> None:
    """Says how the CSV was read, and the flags that would read it otherwise."""
    if summary.form is None:
        return
    form = summary.form
    delimiter = _NAMES.get(form.delimiter, f'"{form.delimiter}"')
    console.note(
        f"{file}: {form.rows:,} rows, {form.encoding} ({form.encoding_why}; `encoding`), fields "
        f"separated by {delimiter} (`delimiter`)"
    )
    if not form.has_header:
        console.note("  its first line names a photo, so it has no header: columns are numbered")
    for choice in summary.choices:
        taken = " ".join(_option(choice.field, column) for column in choice.columns or ("",))
        console.note(f"  {taken}  ({'guessed: ' if choice.guessed else ''}{choice.why})")


def _option(field: str, column: str) -> str:
    """A column as it is told on the command line."""
    return f"{flag(field)} {shlex.quote(column)}"


def show(out: Path, summary: CatalogSummary) -> None:
    """Says what a dataset holds, what was left out, and what queries lack."""
    columns = ("category", *SPLITS, "photos", "queries", "targets a query")
    shown = len(columns) if any(count.queries for count in summary.splits) else -2
    console.table(f"Dataset {out}", columns[:shown], [row[:shown] for row in _rows(summary.splits)])
    for line in (*_notes(out, summary), *summary.left_out.lines()):
        console.note(line)
    if summary.missing:
        console.note(f"A gallery to search in; for queries: {'; '.join(summary.missing)}")


def _rows(counts: Sequence[CategorySplitCount]) -> list[tuple[str, ...]]:
    """The largest categories, the others together, and the whole."""
    by_category: dict[str, list[CategorySplitCount]] = {}
    for count in counts:
        by_category.setdefault(count.category, []).append(count)
    largest = sorted(by_category, key=lambda name: -sum(c.images for c in by_category[name]))
    shown = largest if len(largest) <= _CATEGORIES + 1 else largest[:_CATEGORIES]
    others = [count for name in largest[len(shown) :] for count in by_category[name]]
    rows = [_row(name, by_category[name]) for name in shown]
    if others:
        rows.append(_row(f"{len(largest) - len(shown):,} more", others))
    return [*rows, _row("all", counts)] if len(largest) > 1 else rows


def _row(name: str, counts: Sequence[CategorySplitCount]) -> tuple[str, ...]:
    by_split = [sum(c.images for c in counts if c.split == split) for split in SPLITS]
    queries = sum(c.queries for c in counts)
    targets = sum(c.queries * c.targets for c in counts) / queries if queries else 0
    mean = f"{targets:.1f}" if queries else ""
    return name, *(f"{n:,}" for n in by_split), f"{sum(by_split):,}", f"{queries:,}", mean


def _notes(out: Path, summary: CatalogSummary) -> list[str]:
    """A line for each thing that is worth knowing."""
    said = []
    if summary.pooled:
        held = [f"{name} {count:,}" for name, count in summary.pooled.items()]
        said.append(
            f"{len(held):,} categories of fewer than {summary.min_category:,} photos "
            f"(`min_category`) share the gallery 'other': {_some(held)}"
        )
    if summary.lookalikes:
        said.append(f"{summary.lookalikes:,} photos have near-copies, which share their split")
    if summary.torn:
        said.append(f"{summary.torn:,} photos have near-copies in another split, as it was given")
    if summary.taken_as_categories:
        said.append(
            f"folders {', '.join(summary.taken_as_categories)} are taken as categories, since "
            f"photos lie beside them: splits are taken where every photo lies in train, "
            f"validation or test"
        )
    if summary.others:
        held = [f"{count:,} {ending}" for ending, count in _by_number(summary.others)]
        said.append(f"files that are no photos: {_some(held)}")
    said.append(f"every list is in {out / CATALOG_RECORDS}")
    return said


def _by_number(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:_EXAMPLES]) + (", ..." if len(items) > _EXAMPLES else "")
