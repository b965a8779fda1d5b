"""Draws one query of the demo: its photo, its text, and what was found before and after training.

    python docs/figures/make_result.py runs/demo docs/figures/result.png [--seed 0]

The query is drawn by chance from those that training gained: their target stood behind the first
five under the plain sum, and among them under the trained combiner.
"""

import argparse
import io
import tempfile
import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from panels import INK, add_title, show_photo
from PIL import Image

from cir.config import EvaluateConfig
from cir.data.dataset import Dataset
from pipeline import evaluate

_SHOWN: Final = 5
_COLOURS: Final = 256


def main() -> None:
    """Reads the command line, ranks the gallery twice, draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="folder of cir demo")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--seed", type=int, default=0, help="which of the queries that were gained")
    options = parser.parse_args()
    before = _ranks(options.demo, query="sum")
    after = _ranks(options.demo, run=options.demo / "run")
    query = _gained(before, after, options.seed)
    _draw(Dataset(options.demo / "dataset"), before.loc[query], after.loc[query], options.out)


def _ranks(demo: Path, **composition: Any) -> pd.DataFrame:
    """Every val query's rank and nearest images, by query id."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "ranks.parquet"
        dataset, embeddings = demo / "dataset", demo / "embeddings.h5"
        evaluate.run(
            EvaluateConfig(dataset=dataset, embeddings=embeddings, per_query=table, **composition)
        )
        return pd.read_parquet(table).set_index("query_id")


def _gained(before: pd.DataFrame, after: pd.DataFrame, seed: int) -> str:
    gained = before.index[(before["rank"] > _SHOWN) & (after["rank"] <= _SHOWN)]
    return str(np.random.default_rng(seed).choice(gained))


def _draw(dataset: Dataset, before: Any, after: Any, out: Path) -> None:
    figure = plt.figure(figsize=(9.6, 3.7), facecolor="white")
    grid = figure.add_gridspec(
        2,
        _SHOWN + 1,
        width_ratios=[1.45, *[1] * _SHOWN],
        left=0.015,
        right=0.985,
        top=0.915,
        bottom=0.015,
        wspace=0.07,
        hspace=0.22,
    )
    _draw_query(figure, grid, dataset, before)
    _draw_found(figure, grid[0, 1:], dataset, before, "before training: the plain sum")
    _draw_found(figure, grid[1, 1:], dataset, after, "after training: the trained combiner")
    _write(figure, out)


def _write(figure: Any, out: Path) -> None:
    """A PNG of few colours: a third of the bytes, and the eye misses none."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130)
    with Image.open(drawn) as image:
        few = image.convert("RGB").quantize(_COLOURS, kmeans=3)
    few.save(out, optimize=True)


def _draw_found(figure: Any, cell: Any, dataset: Dataset, found: Any, title: str) -> None:
    """The images that stand first, the target framed."""
    places = cell.subgridspec(1, _SHOWN, wspace=0.07)
    for place, image_id in enumerate(found["retrieved_ids"][:_SHOWN]):
        axes = figure.add_subplot(places[0, place])
        show_photo(axes, dataset, image_id, framed=image_id in found["target_ids"])
        if place == 0:
            add_title(axes, f"{title}, target at rank {found['rank']}")


def _draw_query(figure: Any, grid: Any, dataset: Dataset, query: Any) -> None:
    """The reference above, its text below."""
    axes = figure.add_subplot(grid[0, 0])
    show_photo(axes, dataset, query["reference_id"], framed=False)
    add_title(axes, "query: a photo")
    axes = figure.add_subplot(grid[1, 0])
    axes.axis("off")
    add_title(axes, "and a text")
    text = "\n".join(textwrap.fill(f"“{caption}”", 24) for caption in query["captions"])
    axes.text(0, 0.94, text, ha="left", va="top", color=INK, fontsize=10.5, linespacing=1.5)


if __name__ == "__main__":
    main()
