"""Retrieval on real photos: baselines, and combiners trained on differently mined negatives.

    python -m tests.benchmarks.photos --out runs/photos [--seeds 3] [--epochs 10]

Needs the photo catalogue (images/ and styles.csv) at $CIR_SHARED/fashion-products. Runs every stage
as its command does: from-catalog, check, embed with cir-tiny, then for each strategy and seed mine
and train with re-mining, and evaluates on the val split (full gallery, reference kept, "a and b").
Prints a Markdown table of the mean and the standard deviation over the seeds.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from cir.config import (
    CatalogConfig,
    CheckConfig,
    EmbedConfig,
    EvaluateConfig,
    MineConfig,
    TrainConfig,
)
from pipeline import catalog, check, embed, evaluate, mine, train

SHARED = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[3] / "shared"))
STRATEGIES = ("random", "semi-hard", "category-aware")
FIGURES = ("R@10", "R@50")


def main() -> None:
    """Runs what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    dataset, embeddings = prepared(options.out)
    files = {"dataset": dataset, "embeddings": embeddings}
    rows: dict[str, list[dict[str, float]]] = {}
    for query in ("reference", "text", "sum"):
        result = _evaluated(
            EvaluateConfig(query=query, json=options.out / f"{query}.json", **files)
        )
        rows[query] = [result["mean"]]
        rows["chance"] = [result["chance"]]
    for strategy in STRATEGIES:
        runs = [_run(options.out, files, strategy, s, options.epochs) for s in range(options.seeds)]
        rows[f"attention-fusion, {strategy}"] = [_evaluated(run)["mean"] for run in runs]
    for line in _markdown(rows):
        print(line)  # noqa: T201


def prepared(out: Path) -> tuple[Path, Path]:
    """The dataset folder and the embedding store, made where they are missing."""
    dataset, embeddings = out / "dataset", out / "embeddings.h5"
    photos = SHARED / "fashion-products"
    if not dataset.exists():
        made = CatalogConfig(
            images=photos / "images", attributes=photos / "styles.csv", out=dataset
        )
        catalog.run(made)
    check.run(CheckConfig(dataset=dataset))
    if not embeddings.exists():
        embed.run(EmbedConfig(dataset=dataset, out=embeddings, model="cir-tiny"))
    return dataset, embeddings


def _run(
    out: Path, files: dict[str, Path], strategy: str, seed: int, epochs: int
) -> EvaluateConfig:
    """Mines and trains one run where it is missing; how to evaluate it."""
    folder = out / f"{strategy}-{seed}"
    manifest = out / f"{strategy}-{seed}.parquet"
    if not manifest.exists():
        mine.run(MineConfig(strategy=strategy, seed=seed, out=manifest, **files))
    if not (folder / "report.html").exists():
        train.run(
            TrainConfig(
                manifest=manifest,
                out=folder,
                seed=seed,
                epochs=epochs,
                resume=folder.exists(),
                **files,
            )
        )
    return EvaluateConfig(run=folder, json=folder / "val.json", overwrite=True, **files)


def _evaluated(config: EvaluateConfig) -> dict[str, Any]:
    evaluate.run(config)
    found: dict[str, Any] = json.loads(config.json.read_text())  # type: ignore[union-attr]
    return found


def _markdown(rows: dict[str, list[dict[str, float]]]) -> list[str]:
    head = ["| query | " + " | ".join(FIGURES) + " |", "|---|---:|---:|"]
    cells = {n: [_spread([r[k] for r in some]) for k in FIGURES] for n, some in rows.items()}
    return [*head, *(f"| {name} | {' | '.join(values)} |" for name, values in cells.items())]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
