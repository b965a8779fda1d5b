"""How many mined negatives are in fact targets, by strategy and filter.

    python -m tests.benchmarks.false_negatives --dataset FOLDER --embeddings FILE [--split train]

Needs queries that list all their targets, as `cir data from-catalog` writes them. All targets of a
query but the first are hidden, as if nobody had annotated them; negatives are mined, and those that
are hidden targets of their query are counted, by way to mine and by place in the semi-hard band.
Every filter but the first row of each strategy stands on top of the duplicates, as it does by
default.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_statistics import places_in_band
from cir.artefacts.store import Embeddings, read_embeddings
from cir.config import MiningOptions, OnStarved
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.mining.advice import hidden_targets, hide_targets
from cir.mining.machine import Machine
from cir.mining.manifest import ManifestRecord, mine_manifest, usable_queries
from cir.models.composition import baseline, composed_queries
from cir.types import Strategy
from pipeline.screen import console

CPU = torch.device("cpu")
NONE = "none"
FILTERS: Mapping[str, Mapping[str, Any]] = {
    NONE: {"duplicate_threshold": 1.01},
    "duplicates": {},
    "siblings": {"exclude_siblings": True},
    "relative margin 0.05": {"relative_margin": 0.05},
    "target similarity 0.9": {"max_target_similarity": 0.9},
    "range min 10": {"range_min": 10},
    "all": {
        "exclude_siblings": True,
        "relative_margin": 0.05,
        "max_target_similarity": 0.9,
        "range_min": 10,
    },
}


def without_bytes(embeddings: Embeddings) -> Embeddings:
    """The store as if no two files had the same bytes."""
    unique = tuple(str(row) for row in range(len(embeddings.image_sha256)))
    return dataclasses.replace(embeddings, image_sha256=unique)


class Bench:
    """One split with its hidden targets, to be mined in many ways."""

    def __init__(self, dataset: Dataset, embeddings: Embeddings, split: str, query: str) -> None:
        asked, _ = usable_queries(dataset.queries(split), embeddings)  # type: ignore[arg-type]
        self._queries, self._others = hide_targets(asked)
        if not any(self._others.values()):
            raise DatasetError("no query lists more than one target: nothing can be hidden")
        self._galleries = dataset.galleries(split)  # type: ignore[arg-type]
        self._embeddings, self._split, self._query = embeddings, split, query
        texts = [joined(q.captions) for q in asked]
        self._vectors = composed_queries(asked, texts, embeddings, baseline(query), CPU)

    @property
    def size(self) -> str:
        """Queries, and hidden targets a query."""
        hidden_targets = sum(len(own) for own in self._others.values())
        queries = len(self._queries)
        return f"{queries:,} queries, {hidden_targets / queries:.1f} hidden targets each"

    def row(self, options: MiningOptions, name: str) -> tuple[str, ...]:
        """Mines, and the line of the table under the filter `name`."""
        store = without_bytes(self._embeddings) if name == NONE else self._embeddings
        mined = self._mined(options, store)
        wrong = hidden_targets(mined, self._others)
        share = 100 * wrong.mean() if wrong.size else 0.0
        starved = 100 * mined.metadata.counts.starved / len(self._queries)
        figures = f"{share:.2f}", f"{wrong.sum():,}", f"{wrong.size:,}", f"{starved:.1f}"
        return f"{options.strategy}, {name}", *figures

    def _mined(self, options: MiningOptions, store: Embeddings | None = None) -> Manifest:
        return mine_manifest(
            self._queries,
            store or self._embeddings,
            self._galleries,
            self._vectors,
            options,
            ManifestRecord(self._query, self._split),
            Machine(),
        )

    def by_place(self, num_negatives: int) -> list[tuple[str, ...]]:
        """Share of hidden targets among even draws from each tenth of the semi-hard band."""
        options = MiningOptions(sampling="random", num_negatives=num_negatives, on_starved="drop")
        mined = self._mined(options)
        tenths = np.minimum((10 * places_in_band(mined)).astype(np.int64), 9)
        wrong = hidden_targets(mined, self._others)
        return [_tenth(tenth, wrong[tenths == tenth], len(wrong)) for tenth in range(10)]


def _tenth(tenth: int, wrong: Bool[np.ndarray, " draws"], draws: int) -> tuple[str, ...]:
    """A tenth of the band, the share of its draws that are hidden targets, and its share of all."""
    place = f"{tenth / 10:g} to {(tenth + 1) / 10:g}"
    return place, f"{100 * wrong.mean():.2f}", f"{100 * len(wrong) / draws:.1f}"


def main() -> None:
    """Mines with every strategy and filter, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--query", default="sum", choices=["reference", "sum"])
    parser.add_argument("--num-negatives", type=int, default=5)
    parser.add_argument("--on-starved", default="nearest", choices=get_args(OnStarved)[:3])
    asked = parser.parse_args()
    embeddings = read_embeddings(asked.embeddings)
    bench = Bench(Dataset(asked.dataset), embeddings, asked.split, asked.query)
    rows = []
    for strategy in get_args(Strategy):
        for name, filters in FILTERS.items():
            options = MiningOptions(
                strategy=strategy,
                num_negatives=asked.num_negatives,
                on_starved=asked.on_starved,
                **filters,
            )
            rows.append(bench.row(options, name))
    console.table(
        f"Negatives that are hidden targets, {asked.split} of {asked.dataset}: {bench.size}; "
        f"starved queries: {asked.on_starved}",
        ("strategy, filter", "false %", "false", "negatives", "starved %"),
        rows,
    )
    console.table(
        "By place in the semi-hard band (0 at the target, 1 at the margin), even draws",
        ("place", "false %", "of the draws %"),
        bench.by_place(50),
    )


if __name__ == "__main__":
    main()
