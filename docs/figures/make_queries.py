"""Draws queries of a dataset and what a trained run finds: a row each, true targets framed.

    python docs/figures/make_queries.py runs/shop docs/figures/queries.webp [--seed 0]

The queries are drawn by chance from those of val, one a category where there are enough. What is
found are the nearest of the photos that `cir evaluate` ranks, by the protocol of the dataset's
benchmark: val's of the query's category, with the reference or without it.
"""

import argparse
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
from panels import INK, add_title, show_photo
from PIL import Image

import cir
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.search.index import SearchIndex, SearchResult
from cir.search.opening import source_of_run
from cir.serving.judging import JudgeableQueries, SplitQuery

_ROWS: Final = 5
_SHOWN: Final = 5
_WIDTH: Final = 24
"""Letters of a line of a query's text."""
_QUALITY: Final = 82


@dataclass(frozen=True)
class Row:
    """A query and what was found."""

    query: Query
    text: str
    results: Sequence[SearchResult]
    rank: int
    """Of the target that stands first."""
    among: int
    """How many photos were ranked."""


def main() -> None:
    """Reads the command line, searches, draws."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of cir train")
    parser.add_argument("out", type=Path, help="WebP file to write")
    parser.add_argument("--seed", type=int, default=0, help="which queries are drawn")
    options = parser.parse_args()
    source = source_of_run(options.run)
    if source is None or source.dataset is None:
        parser.error(f"{options.run} names no dataset")
    index = cir.load(options.run).index(source.store, dataset=source.dataset.root)
    dataset = source.dataset
    _draw(dataset, judged_rows(index, dataset, options.seed), options.out)


def judged_rows(index: SearchIndex, dataset: Dataset, seed: int) -> list[Row]:
    """Queries of val that are drawn by chance, and what is found by the dataset's protocol."""
    queries = JudgeableQueries(dataset, index.gallery)
    drawn = _drawn([item for item in queries if item.split == "val"], seed)
    return [_row(index, queries, item) for item in drawn]


def _drawn(queries: Sequence[SplitQuery], seed: int) -> list[SplitQuery]:
    """Queries in an order of chance, those of a category that stands there already at the end."""
    order = np.random.default_rng(seed).permutation(len(queries))
    seen: dict[str, int] = {}
    places = []
    for row in order:
        category = queries[row].query.category
        seen[category] = seen.get(category, 0) + 1
        places.append((seen[category], len(places), row))
    return [queries[row] for *_, row in sorted(places)[:_ROWS]]


def _row(index: SearchIndex, queries: JudgeableQueries, item: SplitQuery) -> Row:
    judged = queries.judge(item, {"run": index}, _SHOWN)
    answer = judged.answers["run"]
    return Row(item.query, item.text, answer.results, answer.targets[0].rank, judged.ranked)


def _draw(dataset: Dataset, rows: Sequence[Row], out: Path) -> None:
    figure = plt.figure(figsize=(9.6, 1.62 * len(rows)), facecolor="white")
    grid = figure.add_gridspec(
        len(rows),
        _SHOWN + 2,
        width_ratios=[1, 1.5, *[1] * _SHOWN],
        left=0.012,
        right=0.988,
        top=0.958,
        bottom=0.012,
        wspace=0.07,
        hspace=0.22,
    )
    for place, row in enumerate(rows):
        _draw_row(figure, grid, place, dataset, row)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130)
    with Image.open(drawn) as image:
        image.convert("RGB").save(out, quality=_QUALITY, method=6)


def _draw_row(figure: Any, grid: Any, place: int, dataset: Dataset, row: Row) -> None:
    reference = figure.add_subplot(grid[place, 0])
    show_photo(reference, dataset, row.query.reference_id, framed=False)
    add_title(reference, "a photo" if place == 0 else "")
    words = figure.add_subplot(grid[place, 1])
    words.axis("off")
    add_title(words, "and a text" if place == 0 else "")
    text = textwrap.fill(f"“{row.text}”", _WIDTH)
    words.text(0.02, 0.97, text, ha="left", va="top", color=INK, fontsize=9.5, linespacing=1.45)
    for column, result in enumerate(row.results):
        axes = figure.add_subplot(grid[place, 2 + column])
        show_photo(axes, dataset, result.id, framed=result.id in row.query.target_ids)
        if column == 0:
            told = "" if place else "the nearest five; the "
            add_title(axes, f"{told}target is at rank {row.rank:,} of {row.among:,}")


if __name__ == "__main__":
    main()
