"""Every strategy on real embeddings, against the brute-force oracle of the tests.

    python -m tests.benchmarks.agreement --dataset FOLDER --embeddings FILE [--split val]

Mines a split with each strategy and both ways of sampling, and checks kinds, distances, ranks,
bands, validity and shares of every row. Prints a line a manifest; a disagreement is an
AssertionError.
"""

import argparse
from pathlib import Path

import torch

from cir.artefacts.store import read_embeddings
from cir.config import MiningOptions
from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.mining.offline import mine_manifest
from cir.models.combiner import SumCombiner
from cir.models.composition import composed_queries
from tests.oracle import check_manifest

CPU = torch.device("cpu")


def main() -> None:
    """Mines and checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--split", default="val")
    given = parser.parse_args()

    dataset, embeddings = Dataset(given.dataset), read_embeddings(given.embeddings)
    queries, galleries = dataset.queries(given.split), dataset.galleries(given.split)
    texts = [joined(query.captions) for query in queries]
    vectors = composed_queries(queries, texts, embeddings, SumCombiner(), CPU)
    for strategy in ("random", "hard", "semi-hard", "category-aware"):
        for sampling in ("top", "random"):
            options = MiningOptions(strategy=strategy, sampling=sampling)
            manifest = mine_manifest(
                queries,
                embeddings,
                galleries,
                vectors,
                options,
                query="sum",
                split=given.split,
                epoch=0,
                checkpoint_sha256=None,
                device=CPU,
            )
            check_manifest(manifest, queries, embeddings, galleries, vectors, options)
            negatives = len(manifest.negative_ids)
            print(f"{strategy}, {sampling}: {len(manifest):,} rows, {negatives:,} negatives agree")  # noqa: T201


if __name__ == "__main__":
    main()
