"""Strategies at full size, against brute force over every pair of query and image.

    python -m tests.benchmarks.agreement --dataset FOLDER --embeddings FILE [--split val]
    python -m tests.benchmarks.agreement --dataset FOLDER --embeddings FILE --split train \\
        --all-images --only "semi-hard, top"
    python -m tests.benchmarks.agreement --vectors random --queries 2000 --gallery 5000

Mines with each strategy and each way of sampling, and checks kinds, distances, ranks, bands,
validity, order and shares of every row of every manifest. The brute force is itself held against
the plain loops of `tests.support.oracle` on the queries of some references. A disagreement is an
AssertionError.
"""

import argparse
import time

import numpy as np
from jaxtyping import Bool

from cir.config import MiningOptions
from cir.mining.manifest import plan_of
from cir.types import SCOPES
from tests.benchmarks import vectors
from tests.benchmarks.brute import BruteForce, Truth, require_agreement
from tests.benchmarks.contestants import mined
from tests.benchmarks.judging import draws_of, expected
from tests.benchmarks.vectors import World

OPTIONS = {
    f"{strategy}, {sampling}": MiningOptions(strategy=strategy, sampling=sampling)  # type: ignore[arg-type]
    for strategy in ("random", "hard", "semi-hard", "category-aware")
    for sampling in ("top", "random", "softmax")
}


class Check:
    """Holds one manifest against the truth, query by query."""

    def __init__(self, world: World, options: MiningOptions) -> None:
        self.options, self.world = options, world
        self.manifest = mined(world, options)
        self._place = {i: at for at, i in enumerate(self.manifest.query_ids)}
        self._quota = plan_of(options).quota(np.arange(len(world.queries)))
        self._starved = self._empty = self._duplicates = self._checked = 0

    def row(self, truth: Truth) -> None:
        """Asserts everything that can be known of one query's row."""
        should = expected(truth, self.options, self._quota[truth.number])
        starved = len(should.drawn) < self.options.num_negatives
        self._checked += 1
        self._starved += starved
        self._empty += not _band(truth, self.options).any()
        self._duplicates += truth.duplicates
        at = self._place.get(self.world.queries[truth.number].id)
        dropped = not should.filled or (self.options.on_starved == "drop" and starved)
        assert (at is None) == dropped
        if at is None:
            return
        self._require_measures(at, truth)
        chosen = self._require_negatives(at, truth)
        assert len(chosen) == len(should.filled)
        if should.fill_certain:
            assert sorted(chosen) == sorted(should.filled.items())
        for (scope, kind), wanted in zip(
            draws_of(self.options), self._quota[truth.number].tolist(), strict=True
        ):
            own = [row for row, its in chosen if its == scope]
            assert starved or len(own) == wanted
            assert starved or truth.of_kind(kind)[own].all()

    def finish(self) -> None:
        """Asserts the counts that the manifest's metadata states."""
        counts = self.manifest.metadata.counts
        assert self._checked == len(self.world.queries)
        assert counts.queries == len(self.manifest)
        assert counts.dropped == self._checked - len(self.manifest)
        assert (counts.starved, counts.starved_empty) == (self._starved, self._empty)
        assert counts.excluded_as_duplicates == self._duplicates

    def _require_measures(self, at: int, truth: Truth) -> None:
        band = _band(truth, self.options)
        assert self.manifest.target_distances[at] == truth.target_distance
        assert self.manifest.target_ranks[at] == truth.rank
        assert self.manifest.candidates_in_band[at] == band.sum()

    def _require_negatives(self, at: int, truth: Truth) -> list[tuple[int, str]]:
        """(gallery row, scope) of each negative, which is valid and as the manifest says."""
        manifest = self.manifest
        start = int(manifest.negative_starts[at])
        span = slice(start, start + int(manifest.negative_counts[at]))
        rows = np.array([self.world.row_of[i] for i in manifest.negative_ids[span]])
        scopes = [SCOPES[code] for code in manifest.negative_scopes[span]]
        assert len(set(rows.tolist())) == len(rows)
        assert truth.valid[rows].all()
        assert np.array_equal(manifest.negative_distances[span], truth.distances[rows])
        assert np.array_equal(manifest.negative_kinds[span], truth.kinds[rows])
        assert np.array_equal(np.lexsort((rows, truth.distances[rows])), np.arange(len(rows)))
        assert all(truth.inside(s)[row] for row, s in zip(rows, scopes, strict=True))
        return list(zip(rows.tolist(), scopes, strict=True))


def _band(truth: Truth, options: MiningOptions) -> Bool[np.ndarray, " gallery"]:
    """The candidates that any of the draws could give."""
    band = np.zeros_like(truth.valid)
    for scope, kind in draws_of(options):
        band |= truth.band(scope, kind)
    return band


def main() -> None:
    """Mines and checks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    vectors.add_arguments(parser, split="val")
    parser.add_argument(
        "--all-images", action="store_true", help="every image of the store is the gallery"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument(
        "--references", type=int, default=20, help="held against tests.support.oracle"
    )
    asked = parser.parse_args()

    world, name = vectors.world_of(parser, asked, all_images=asked.all_images)
    started = time.perf_counter()
    brute = BruteForce(world, MiningOptions())
    compared = require_agreement(brute, asked.references)
    checks = [Check(world, OPTIONS[each]) for each in asked.only]
    for truth in brute.truths(range(len(world.queries))):
        for check in checks:
            check.row(truth)
    for each, check in zip(asked.only, checks, strict=True):
        check.finish()
        rows, negatives = len(check.manifest), len(check.manifest.negative_ids)
        print(f"{each}: {rows:,} rows, {negatives:,} negatives agree")  # noqa: T201
    pairs = len(world.queries) * len(world.ids)
    print(  # noqa: T201
        f"{name}: {pairs:,} pairs by brute force, "
        f"itself as tests.support.oracle on {compared} queries; "
        f"{time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
