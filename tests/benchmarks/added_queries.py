"""What new queries from mined pairs are worth, beside as many from random pairs, and none.

    python -m tests.benchmarks.added_queries --out runs/added [--count 3000] [--seeds 5] [--jobs 2]

Needs the photo catalogue, as tests.benchmarks.study does. For each seed: the defaults of `cir
train` on the dataset as it is; pairs mined with that run's combiner, and random pairs (a reference
of the queries, and any photo of its category in the training split that is no target of it yet);
both worded from the catalogue's attributes by `cir data caption-pairs`, and the first --count of
each added by `cir data add-queries`; the same training on each dataset, mined anew. Vectors are
those of cir-tiny, frozen. Added queries make epochs longer, by the same for both. What is done is
not done again.

Prints a Markdown table: `targets` are photos that fit an added query, on average, and `worded` is
the share of pairs whose attributes can be put into words. Recalls are means and standard deviations
over the seeds: full gallery, reference kept, "a and b".
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from cir.artefacts.pairs import read_pairs, write_pairs
from cir.artefacts.store import read_embeddings, write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import TINY, AddQueriesConfig, CaptionPairsConfig, MineConfig
from cir.data.dataset import Dataset
from cir.data.pairs import ProposedPair
from cir.encoding.dataset_embedding import caption_texts
from cir.encoding.embedding import caption_vectors
from cir.encoding.encoder import load_encoder
from pipeline import add_queries, caption_pairs, mine
from tests.benchmarks.photos import prepared
from tests.benchmarks.study import COLUMNS, Place, Row, at_once, figures, run, spread

NONE, RANDOM, MINED = Row("none", {}), Row("random pairs", {}), Row("mined pairs", {})
OFFERED = {RANDOM.name: 12, MINED.name: 4}
"""Pairs for each query that is to be added: the attributes of many cannot be worded."""


def main() -> None:
    """Runs what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=3000, help="queries to add")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, a thread each")
    options = parser.parse_args()

    plain = Place(options.out, *prepared(options.out), options.epochs)
    seeds = range(options.seeds)
    at_once(options.jobs, run, [(plain, NONE, seed) for seed in seeds])
    added = [(row, seed, options.count) for seed in seeds for row in (RANDOM, MINED)]
    datasets = [dataset_of(plain, *what) for what in added]
    store = with_captions(plain, datasets, options.count)
    work = [
        (Place(options.out / f"{count}-added", dataset, store, options.epochs), row, seed)
        for (row, seed, count), dataset in zip(added, datasets, strict=True)
    ]
    at_once(options.jobs, run, work)
    for line in table(plain, work, options.count):
        print(line, flush=True)  # noqa: T201


def dataset_of(plain: Place, row: Row, seed: int, count: int) -> Path:
    """The dataset with `count` pairs as further queries."""
    folder = plain.out / f"{count}-added" / row.folder
    dataset, worded = folder / f"dataset-{seed}", worded_file(plain, row, seed, count)
    if dataset.exists():
        return dataset
    offered = folder / f"pairs-{seed}.parquet"
    if row is MINED:
        propose(plain, seed, OFFERED[row.name] * count, offered)
    else:
        write_pairs(random_pairs(plain, seed, OFFERED[row.name] * count), offered, {})
    caption_pairs.run(
        CaptionPairsConfig(
            dataset=plain.dataset, pairs=offered, out=worded, seed=seed, overwrite=True
        )
    )
    held = read_pairs(worded)
    if len(held.pairs) < count:
        raise SystemExit(f"{worded} holds {len(held.pairs)} pairs: pass a lower --count")
    first = folder / f"added-{seed}.parquet"
    write_pairs(held.pairs[:count], first, held.metadata)
    add_queries.run(
        AddQueriesConfig(dataset=plain.dataset, pairs=first, out=dataset, link="symlink")
    )
    return dataset


def worded_file(plain: Place, row: Row, seed: int, count: int) -> Path:
    """Where the pairs that could be worded are."""
    return plain.out / f"{count}-added" / row.folder / f"worded-{seed}.parquet"


def propose(plain: Place, seed: int, count: int, out: Path) -> None:
    """Pairs by the combiner that was trained on the dataset as it is."""
    asked = MineConfig(
        query="combiner",
        checkpoint=plain.out / NONE.folder / f"seed-{seed}",
        out=out.with_name(f"mined-{seed}.parquet"),
        propose=out,
        propose_count=count,
        seed=seed,
        device="cpu",
        overwrite=True,
        **plain.files,
    )
    mine.run(asked)


def random_pairs(plain: Place, seed: int, count: int) -> list[ProposedPair]:
    """References of queries with any photo of their category that is no target of theirs."""
    dataset, rng = Dataset(plain.dataset), np.random.default_rng(seed)
    queries, galleries = dataset.queries("train"), dataset.galleries("train")
    known = {(q.reference_id, image) for q in queries for image in (q.reference_id, *q.known_ids)}
    pairs: dict[tuple[str, str], ProposedPair] = {}
    while len(pairs) < count:
        query = queries[rng.integers(len(queries))]
        gallery = galleries[query.category]
        pair = query.reference_id, gallery[rng.integers(len(gallery))]
        if pair not in known:
            pairs.setdefault(pair, ProposedPair(*pair, query.category))
    return list(pairs.values())


def with_captions(plain: Place, datasets: Sequence[Path], count: int) -> Path:
    """The store with the vectors of all new captions; photos need not be embedded again."""
    path = plain.out / f"{count}-added" / "embeddings.h5"
    if path.exists():
        return path
    store = read_embeddings(plain.embeddings)
    texts = {text for dataset in datasets for text in caption_texts(Dataset(dataset))}
    new = sorted(texts - set(store.captions.keys))
    encoder = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=torch.device("cpu")
    )
    encoder.provenance.require_same(store.provenance, TINY, str(store.path), ValueError)
    vectors = caption_vectors(encoder, new, batch_size=256)
    write_embeddings(
        path,
        images=store.images,
        captions=VectorTable(
            (*store.captions.keys, *new), np.concatenate([store.captions.vectors, vectors])
        ),
        image_sha256=store.image_sha256,
        provenance=store.provenance,
        skipped=store.skipped,
    )
    return path


def table(plain: Place, work: Sequence[tuple[Place, Row, int]], count: int) -> Iterator[str]:
    """The rows of Markdown."""
    heads = [name if split == "val" else f"{split} {name}" for split, name in COLUMNS]
    yield f"| {count:,} queries added from | targets | worded | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(heads) + 2)
    seeds = sorted({seed for _, _, seed in work})
    yield f"| {NONE.name} | | | {recalls(plain, NONE, seeds)} |"
    for row in (RANDOM, MINED):
        place = next(where for where, other, _ in work if other is row)
        files = [read_pairs(worded_file(plain, row, seed, count)).pairs for seed in seeds]
        targets = mean(len(pair.every_target_id) for some in files for pair in some[:count])
        share = mean(len(some) / (OFFERED[row.name] * count) for some in files)
        yield f"| {row.name} | {targets:.1f} | {share:.0%} | {recalls(place, row, seeds)} |"


def recalls(place: Place, row: Row, seeds: Sequence[int]) -> str:
    """The cells of a row."""
    found = [figures(place.out / row.folder / f"seed-{seed}") for seed in seeds]
    return " | ".join(spread(values) for values in zip(*found, strict=True))


if __name__ == "__main__":
    main()
