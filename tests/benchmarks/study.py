"""What training on mined negatives is worth: composers, losses and negatives on real photos.

    python -m tests.benchmarks.study --out runs/study [--seeds 5] [--epochs 10] [--jobs 2]
    python -m tests.benchmarks.study --out runs/study --only band --curves curves.svg

Needs the photo catalogue (images/ and styles.csv) at $CIR_SHARED/fashion-products. Every row trains
from the same vectors of cir-tiny, on the same queries, for ten epochs unless its name or the
defaults say otherwise, with each seed; towers are frozen but in the defaults and where a name says
that they are tuned. The seed draws weights, batches, dropout, negatives and the dev split that the
best epoch is chosen on. That epoch is evaluated once on val, and once on test:
among the photos of the query's category and split with the reference kept (full), and among all
photos of the dataset but the reference (all); "a and b". Recipes are chosen on dev and val; test is
reported. Runs that are there are not run again, and one that was killed goes on.

`--pretrained` takes other weights of cir-tiny, in a folder of its own; with `bundled` the towers'
rate that was best is `--clip-learning-rate 1e-4`. `--attributes` makes another dataset of the same
photos: queries from pairs that differ in other columns of styles.csv, such as season, usage and
articleType, in a folder of its own; so does `--limit`, of a sample of them.

Prints a Markdown table. Recalls are the mean and the standard deviation over the seeds; `95 %` is
the mean number of epochs until dev R@10 first reached 95 % of the run's best; `seconds` is the
median wall time of an epoch, with evaluation and mining, of runs that went one after the other
(--time).
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import read_embeddings
from cir.config import EvaluateConfig, GalleryName, MineConfig, TrainConfig
from cir.data.dataset import Dataset
from cir.training.metrics_log import RunLog
from cir.training.train import train
from pipeline import evaluate, mine
from tests.benchmarks.photos import prepared

COLUMNS = (
    ("val", "full", "R@1"),
    ("val", "full", "R@10"),
    ("val", "full", "R@50"),
    ("val", "all", "R@10"),
    ("test", "full", "R@1"),
    ("test", "full", "R@10"),
    ("test", "all", "R@10"),
)
SPLITS = ("val", "test")
GALLERIES: tuple[GalleryName, ...] = ("full", "all")
BASELINES = ("reference", "text", "sum", "weighted-sum")
"""Queries that nothing is trained for: the image alone, the text alone, both added, and added with
the weight that is best on dev."""
FROZEN = {"tune": "none"}
TEXT_TUNED = {"tune": "text"}
CLIP4CIR = {
    **FROZEN,
    "combiner": "clip4cir",
    "loss": "contrastive",
    "contrast": "batch",
    "other_targets": "ignored",
    "temperature": 0.01,
    "weight_decay": 0.0,
    "schedule": "constant",
    "remine": False,
}
"""Baldrati et al. (CVPR 2022 workshops), section 4.1: logits times 100, Adam at a constant rate.
Their mixed precision is for speed: on a processor without bfloat16 an epoch takes minutes."""
FUSION = {**FROZEN, "combiner": "attention-fusion", "learning_rate": 1e-3}
TRIPLET = {**FUSION, "loss": "triplet"}
PLATEAU = {"epochs": 60, "patience": 6}
"""Trains until six epochs in a row have not bettered dev."""
INFONCE = {
    **FUSION,
    "loss": "contrastive",
    "contrast": "batch",
    "other_targets": "ignored",
}
DEFAULTS = {"epochs": TrainConfig.epochs}
TUNED = {**TEXT_TUNED, "epochs": 6}
BOTH_TUNED = {**TUNED, "tune": "both", "row_negatives": 2}
"""Two negatives a query: each is an image that the tower encodes, forth and back."""
IN_BATCH = {"loss": "contrastive", "contrast": "batch+reference"}
UNBANKED = "batch+mined+reference"
"""What the defaults contrast with, without the bank of every target."""
OURS = {**FROZEN, "combiner": "gated-sum", "learning_rate": 2e-3}


@dataclass(frozen=True)
class Row:
    """One way to train."""

    name: str
    train: Mapping[str, Any]
    mine: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 99
    """At most: a rate that loses the search on dev is not tried with all of them."""

    @property
    def folder(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.name)


ROWS = (
    *(
        Row(f"CLIP4Cir's recipe, rate {rate:g}", {**CLIP4CIR, "learning_rate": rate}, seeds=seeds)
        for rate, seeds in ((2e-5, 1), (1e-4, 1), (3e-4, 99), (1e-3, 1))
    ),
    Row("CLIP4Cir's recipe, to its plateau", {**CLIP4CIR, "learning_rate": 3e-4, **PLATEAU}),
    Row(
        "CLIP4Cir's recipe, text tuned, to its plateau",
        {**CLIP4CIR, **TEXT_TUNED, "learning_rate": 3e-4, **PLATEAU},
    ),
    Row("AttentionFusion, triplet, random", TRIPLET, {"strategy": "random"}),
    *(
        Row(f"AttentionFusion, triplet, {longer}, {name}", {**TRIPLET, **changes}, mine)
        for longer, changes in (
            ("text tuned", TEXT_TUNED),
            ("text tuned, as long as the defaults", {**TEXT_TUNED, **DEFAULTS}),
            ("as long as the defaults", DEFAULTS),
        )
        for name, mine in (("random", {"strategy": "random"}), ("all of the band", {}))
    ),
    Row("AttentionFusion, triplet, semi-hard", TRIPLET),
    Row("AttentionFusion, triplet, semi-hard, to its plateau", {**TRIPLET, **PLATEAU}),
    *(
        Row(
            f"band: {name}",
            TRIPLET,
            mine,
            seeds=seeds,
        )
        for name, mine, seeds in (
            ("top", {"sampling": "top"}, 99),
            *(
                (f"softmax at {t:g}", {"sampling": "softmax", "temperature": t}, 3)
                for t in (0.02, 0.05, 0.1, 0.2)
            ),
            ("all of it", {"sampling": "random"}, 99),
        )
    ),
    *(
        Row(
            f"band: all of it, {count} negatives",
            TRIPLET,
            {"sampling": "random", "num_negatives": count},
        )
        for count in (1, 20, 50)
    ),
    *(
        Row(
            f"band: all of it, margin {margin:g}",
            {**TRIPLET, "margin": margin},
            {"sampling": "random", "margin": margin},
        )
        for margin in (0.05, 0.1, 0.4)
    ),
    Row("band: hard, top", TRIPLET, {"strategy": "hard", "sampling": "top"}),
    Row("band: hard, all of it", TRIPLET, {"strategy": "hard", "sampling": "random"}),
    Row("band: adaptive", TRIPLET, {"strategy": "adaptive", "sampling": "random"}),
    *(
        Row(
            f"band: category-aware, {name}",
            TRIPLET,
            {"strategy": "category-aware", "sampling": sampling},
        )
        for name, sampling in (("top", "top"), ("all of it", "random"))
    ),
    Row("AttentionFusion, triplet, online", {**TRIPLET, "online_top_k": 5}),
    Row("AttentionFusion, InfoNCE", {**INFONCE, "remine": False}),
    Row("AttentionFusion, InfoNCE + semi-hard", {**INFONCE, "contrast": "batch+mined"}),
    Row(
        "the same, not mined again",
        {**INFONCE, "contrast": "batch+mined", "remine": False},
    ),
    Row(
        "the same, siblings excluded",
        {**INFONCE, "contrast": "batch+mined"},
        {"exclude_siblings": True},
    ),
    Row(
        "gated-sum, InfoNCE",
        {
            **OURS,
            "loss": "contrastive",
            "contrast": "batch",
            "other_targets": "ignored",
            "remine": False,
        },
    ),
    Row(
        "gated-sum, InfoNCE + bank",
        {**OURS, "loss": "contrastive", "contrast": "batch+bank+reference", "remine": False},
    ),
    Row("the defaults", DEFAULTS),
    Row("the same, top of the band", DEFAULTS, {"sampling": "top"}),
    Row("the same, random negatives", DEFAULTS, {"strategy": "random"}),
    Row("the same, never mined again", {**DEFAULTS, "remine": False}),
    Row("the defaults, frozen", {**DEFAULTS, **FROZEN}),
    Row("the defaults, frozen, random negatives", {**DEFAULTS, **FROZEN}, {"strategy": "random"}),
    Row("the defaults, frozen, six epochs", {**FROZEN, "epochs": TUNED["epochs"]}),
    Row("text tuned, in-batch", {**TUNED, **IN_BATCH, "remine": False}),
    Row("text tuned, random", {**TUNED, "contrast": UNBANKED}, {"strategy": "random"}),
    Row("text tuned, semi-hard", {**TUNED, "contrast": UNBANKED}),
    Row("text tuned, semi-hard and bank", TUNED),
    Row("text tuned, not mined again", {**TUNED, "remine": False}),
    Row("both tuned, in-batch", {**TUNED, **IN_BATCH, "tune": "both", "remine": False}),
    Row("both tuned, random", {**BOTH_TUNED, "contrast": UNBANKED}, {"strategy": "random"}),
    Row("both tuned, semi-hard", {**BOTH_TUNED, "contrast": UNBANKED}),
    Row("both tuned, semi-hard and bank", BOTH_TUNED),
    Row("both tuned, not mined again", {**BOTH_TUNED, "remine": False}),
)


@dataclass(frozen=True)
class Place:
    """Where a study lies, and how long its runs are."""

    out: Path
    dataset: Path
    embeddings: Path
    epochs: int
    device: str
    clip_learning_rate: float | None = None
    """Of rows that tune a tower; None takes the default."""

    @property
    def files(self) -> dict[str, Path]:
        return {"dataset": self.dataset, "embeddings": self.embeddings}


def main() -> None:
    """Runs what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, a thread each")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--only", nargs="*", default=[""], help="rows of this name, or with it in theirs"
    )
    parser.add_argument("--attributes", nargs="*", help="columns that queries are made of")
    parser.add_argument("--pretrained", help="tag of cir-tiny's weights, such as bundled")
    parser.add_argument("--limit", type=int, help="photos of a sample; by default all")
    parser.add_argument("--clip-learning-rate", type=float, help="of towers that are tuned")
    parser.add_argument("--curves", type=Path, help="draw dev R@10 by epoch to this SVG file")
    parser.add_argument("--time", action="store_true", help="time two epochs of each row")
    options = parser.parse_args()

    files = prepared(options.out, options.attributes, options.pretrained, options.limit)
    rate = options.clip_learning_rate
    place = Place(options.out, *files, options.epochs, options.device, rate)
    rows = [row for row in ROWS if any(map(partial(is_meant, row), options.only))]
    work = [(row, seed) for seed in range(options.seeds) for row in rows if seed < row.seeds]
    # Rows that share a manifest find it made, and no two processes make it.
    first = {manifest_of(place, row, seed): (place, row, seed) for row, seed in reversed(work)}
    at_once(options.jobs, mined, list(first.values()))
    at_once(options.jobs, run, [(place, row, seed) for row, seed in work])
    settled = [row for row in rows if row.seeds > 1]
    times = {row.name: timed(place, row) for row in settled} if options.time else {}
    for line in table(place, rows, options.seeds, times):
        print(line, flush=True)  # noqa: T201
    if options.curves:
        draw_curves(place, rows, options.seeds, options.curves)


def is_meant(row: Row, part: str) -> bool:
    """Whether a name, or a part of one that is no row's whole name, means a row."""
    return row.name == part if any(part == each.name for each in ROWS) else part in row.name


def at_once(jobs: int, function: Callable[..., object], work: Sequence[tuple[Any, ...]]) -> None:
    """Calls a function with each tuple of arguments, so many at once, in processes of their own."""
    if jobs == 1:
        for arguments in work:
            function(*arguments)
        return
    with ProcessPoolExecutor(jobs, initializer=one_thread) as pool:
        list(pool.map(function, *zip(*work, strict=True)))


def one_thread() -> None:
    """Runs beside one another take a core each."""
    import torch

    torch.set_num_threads(1)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"


def run(place: Place, row: Row, seed: int) -> None:
    """Mines, trains and evaluates one seed of a row, as far as it is missing."""
    folder = place.out / row.folder / f"seed-{seed}"
    if not all(judgement(folder, split).exists() for split in SPLITS):
        trained(place, row, seed, folder, place.epochs)
        judge(place, folder, run=folder)


def judgement(folder: Path, split: str) -> Path:
    """Where the recalls on a split are."""
    return folder / f"{split}.json"


def judge(place: Place, folder: Path, **what: Any) -> None:
    """Evaluates on each split, as far as that is missing."""
    for split in SPLITS:
        result = judgement(folder, split)
        if not result.exists():
            evaluate.run(
                EvaluateConfig(
                    split=split,
                    gallery=GALLERIES,
                    json=result,
                    device=place.device,
                    **what,
                    **place.files,
                )
            )


def figures(folder: Path) -> list[float]:
    """What `COLUMNS` names."""
    means = {
        (split, protocol["protocol"]["gallery"]): protocol["mean"]
        for split in SPLITS
        for protocol in json.loads(judgement(folder, split).read_text(encoding="utf-8"))[
            "protocols"
        ]
    }
    return [means[split, gallery][name] for split, gallery, name in COLUMNS]


def trained(place: Place, row: Row, seed: int, folder: Path, epochs: int) -> None:
    """Mines the first manifest and trains on it."""
    manifest = mined(place, row, seed)
    tunes = row.train.get("tune") != "none"
    config = TrainConfig(
        manifest=manifest,
        out=folder,
        seed=seed,
        resume=(folder / "config.json").exists(),
        device=place.device,
        clip_learning_rate=place.clip_learning_rate if tunes else None,
        **{"epochs": epochs, **row.train},
        **place.files,
    )
    train(
        config, Dataset(place.dataset), read_embeddings(place.embeddings), read_manifest(manifest)
    )


def mined(place: Place, row: Row, seed: int) -> Path:
    """The first manifest, which rows that are mined alike share."""
    manifest = manifest_of(place, row, seed)
    if not manifest.exists():
        mine.run(
            MineConfig(seed=seed, out=manifest, device=place.device, **row.mine, **place.files)
        )
    return manifest


def manifest_of(place: Place, row: Row, seed: int) -> Path:
    """Where the first manifest of a row is, named by how it is mined."""
    name = "-".join(f"{field}-{value}" for field, value in row.mine.items()) or "defaults"
    return place.out / "manifests" / f"{name}-seed-{seed}.parquet"


def timed(place: Place, row: Row) -> float:
    """Median seconds of two epochs, this run being the only one."""
    folder = place.out / row.folder / "timed"
    if not (folder / "metrics.jsonl").exists():
        trained(place, row, 0, folder, 2)
    return median(line["seconds"] for line in lines_of(folder)[1:])


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return RunLog(folder).lines


def table(
    place: Place, rows: Sequence[Row], seeds: int, times: Mapping[str, float]
) -> Iterator[str]:
    """The rows of Markdown."""
    heads = [f"{split} {gallery} {name}" for split, gallery, name in COLUMNS]
    yield f"| query | {' | '.join(heads)} | 95 % | seconds |"
    yield "|---|" + "---:|" * (len(heads) + 2)
    for query in BASELINES:
        judge(place, place.out / query, query=query)
        cells = [f"{value:.2f}" for value in figures(place.out / query)]
        yield f"| {query} | {' | '.join(cells)} | | |"
    tried = {row.name: range(min(seeds, row.seeds)) for row in rows}
    curves = {row.name: [curve(place, row, seed) for seed in tried[row.name]] for row in rows}
    for row in rows:
        found = [figures(place.out / row.folder / f"seed-{seed}") for seed in tried[row.name]]
        cells = [spread(values) for values in zip(*found, strict=True)]
        reached = mean(epochs_until(0.95 * max(own), own) for own in curves[row.name])
        seconds = f"{times[row.name]:.1f}" if row.name in times else ""
        yield f"| {row.name} | {' | '.join(cells)} | {reached:.1f} | {seconds} |"


def draw_curves(place: Place, rows: Sequence[Row], seeds: int, file: Path) -> None:
    """R@10 on dev by epoch, the mean over seeds, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        curves = [curve(place, row, seed) for seed in range(min(seeds, row.seeds))]
        epochs = min(map(len, curves))
        axes.plot([mean(own[epoch] for own in curves) for epoch in range(epochs)], label=row.name)
    axes.set(xlabel="epoch", ylabel="dev R@10, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file)


def curve(place: Place, row: Row, seed: int) -> list[float]:
    """R@10 on dev by epoch, from epoch 0 on."""
    return [line["dev"]["R@10"] for line in lines_of(place.out / row.folder / f"seed-{seed}")]


def epochs_until(goal: float, curve: Sequence[float]) -> int:
    return next(epoch for epoch, value in enumerate(curve) if value >= goal)


def spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
