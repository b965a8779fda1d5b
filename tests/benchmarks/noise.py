"""What wrong triplets cost: the targets of a share of the training queries are exchanged.

    python -m tests.benchmarks.noise --out runs/noise [--seeds 3] [--shares 0 0.2 0.5 0.8]

Needs the photo catalogue, as `tests.benchmarks.study` does, whose rows these are. A share of the
training queries, drawn by the seed, exchange their targets within their category, so that each of
them has another's (as TME and HABIT shuffle triplets to measure robustness); the queries of the dev
split that the seed cuts stay as they are. Mining, exclusions and training see the exchanged targets
alone; the best epoch is chosen on the clean dev split and judged on the clean val and test splits.
Runs that are there are not run again.

The noise is in a dataset of its own, and no option of `cir train`: mining, which comes before it,
must see the same wrong targets, or its exclusions would tell which are right.

Prints a Markdown table: R@10 on val and on test by share, the mean and the standard deviation over
the seeds.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.disk.files import folder_written_aside, write_json
from cir.training.hold_out import hold_out
from tests.benchmarks.photos import prepared
from tests.benchmarks.study import CLIP4CIR, COLUMNS, FROZEN, Place, Row, figures, run, spread

ROWS = (
    Row("CLIP4Cir's recipe", {**CLIP4CIR, "learning_rate": 3e-4}),
    Row("the defaults", {}),
    Row("the same, pairs weighed by trust", {"weighting": "trust"}),
    Row("frozen", FROZEN),
    Row("frozen, hardness weighting", {**FROZEN, "weighting": "hardness"}),
    Row("frozen, pairs weighed by trust", {**FROZEN, "weighting": "trust"}),
)
SHARES = (0.0, 0.2, 0.5, 0.8)
_REPORTED = {f"{split} R@10": COLUMNS.index((split, "full", "R@10")) for split in ("val", "test")}
"""Positions in the study's figures."""
_REFERENCE = "candidate"
"""A row's key for its reference."""
_TARGETS = ("target", "targets")
"""Keys of a row of a captions file that its targets are under."""
_DRAW = 0x4015E


def main() -> None:
    """Runs what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--only", nargs="*", default=[""], help="rows with this in their name")
    options = parser.parse_args()

    dataset, embeddings = prepared(options.out)
    rows = [row for row in ROWS if any(part in row.name for part in options.only)]
    clean = Place(options.out, dataset, embeddings, options.epochs, options.device)
    for share in options.shares:
        for seed in range(options.seeds):
            for row in rows:
                run(noisy_place(clean, share, seed), row, seed)
    for line in table(options.out, rows, options.shares, options.seeds):
        print(line, flush=True)  # noqa: T201


def noisy_place(clean: Place, share: float, seed: int) -> Place:
    """Where the runs of a share and a seed lie; their dataset is made where it is missing."""
    folder = clean.out / f"noise-{share:g}"
    dataset = folder / f"dataset-{seed}"
    if not dataset.exists():
        exchange_targets(Dataset(clean.dataset), dataset, share, seed)
    return Place(folder, dataset, clean.embeddings, clean.epochs, clean.device)


def exchange_targets(clean: Dataset, out: Path, share: float, seed: int) -> None:
    """Writes a dataset in which a share of the queries that are trained on have others' targets.

    Args:
        clean: A dataset in FashionIQ's form, all of whose images can be embedded.
        out: The folder to make; its images are those of `clean`, linked.
        share: Of each category's training queries.
        seed: Decides which, as a run's seed decides what is its dev split.
    """
    trained, _ = hold_out(clean.queries("train"), TrainConfig.dev_fraction, seed)
    with folder_written_aside(out, "dataset") as aside:
        for folder in ("captions", "image_splits"):
            shutil.copytree(clean.root / folder, aside / folder)
        for category in clean.categories:
            file = clean.captions_file(category, "train").relative_to(clean.root)
            own = rows_of([query for query in trained if query.category == category])
            rows = json.loads((clean.root / file).read_text(encoding="utf-8"))
            write_json(aside / file, _exchanged(rows, own, share, seed))
        (aside / "images").symlink_to((clean.root / "images").resolve())


def rows_of(queries: Sequence[Query]) -> Int64[np.ndarray, " queries"]:
    """The rows of a captions file that queries stand in."""
    return np.array([int(query.id.rsplit("-", 1)[1]) for query in queries])


def _exchanged(
    rows: Sequence[dict], trained: Int64[np.ndarray, " trained"], share: float, seed: int
) -> list[dict]:
    """The rows of a captions file, some of them with the targets of the next in a random circle."""
    order = np.random.default_rng([_DRAW, seed, len(rows)]).permutation(trained)
    wrong = order[: round(share * len(order))].tolist()
    changed = list(rows)
    for row, other in zip(wrong, givers_of(rows, wrong), strict=True):
        question = {name: value for name, value in rows[row].items() if name not in _TARGETS}
        answer = {name: value for name, value in rows[other].items() if name in _TARGETS}
        changed[row] = question | answer
    return changed


def givers_of(rows: Sequence[dict], wrong: Sequence[int]) -> list[int]:
    """Whose targets each of some rows gets: those of the one before it, in a circle.

    Where a row's own reference is among them, it exchanges givers with the first row that can.
    """
    givers = [*wrong[-1:], *wrong[:-1]]

    def fits(place: int, giver: int) -> bool:
        row = rows[giver]
        return giver != wrong[place] and rows[wrong[place]][_REFERENCE] not in (
            row["target"],
            *row.get("targets", ()),
        )

    for place, giver in enumerate(givers):
        if fits(place, giver):
            continue
        for other in range(len(givers)):
            if fits(place, givers[other]) and fits(other, giver):
                givers[place], givers[other] = givers[other], giver
                break
    return givers


def table(out: Path, rows: Sequence[Row], shares: Sequence[float], seeds: int) -> Iterator[str]:
    """The rows of Markdown."""
    for name, position in _REPORTED.items():
        yield f"| {name} | {' | '.join(f'{share:.0%} wrong' for share in shares)} |"
        yield "|---|" + "---:|" * len(shares)
        for row in rows:
            folders = [out / f"noise-{share:g}" / row.folder for share in shares]
            found = [
                [figures(folder / f"seed-{seed}")[position] for seed in range(seeds)]
                for folder in folders
            ]
            yield f"| {row.name} | {' | '.join(spread(values) for values in found)} |"
        yield ""


if __name__ == "__main__":
    main()
