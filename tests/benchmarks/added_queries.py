"""What new queries from mined pairs are worth, beside as many from random pairs, and none.

    python -m tests.benchmarks.added_queries --out runs/added [--count 9000] [--seeds 5] [--jobs 2]
    python -m tests.benchmarks.added_queries --out runs/added --count 30000 --offered 6 --uses 40

Needs the photo catalogue, as tests.benchmarks.study does. For each seed: the defaults of `cir
train` on the dataset as it is; pairs mined with that run's combiner, and random pairs (a reference
of the queries, and any photo of its category in the training split that is no target of it yet);
both worded from the catalogue's attributes by `cir data caption-pairs`, and the first --count of
each added by `cir data add-queries`; the same training on each dataset, mined anew. The encoder is
cir-tiny, whose text tower the defaults tune. Added queries make epochs longer, by the same for
both. What is done is not done again.

Prints a Markdown table: `targets` are photos that fit an added query, on average, and `worded` is
the share of pairs whose attributes can be put into words. Recalls are means and standard deviations
over the seeds, as tests.benchmarks.study has them.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np

from cir.artefacts.pairs import read_pairs, write_pairs
from cir.artefacts.store import read_embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import TINY, AddQueriesConfig, CaptionPairsConfig, MineConfig
from cir.data.dataset import Dataset
from cir.data.pairs import ProposedPair
from cir.encoding.embedding import caption_vectors
from cir.encoding.job.dataset_embedding import caption_texts
from cir.encoding.loading import load_encoder
from cir.machine.runtime import pick_device
from pipeline import add_queries, caption_pairs, mine
from tests.benchmarks.photos import prepared
from tests.benchmarks.study import COLUMNS, Place, Row, at_once, figures, run, spread

DEFAULTS = Row("defaults", {})
SOURCES = RANDOM, MINED = "random", "mined"
RANDOM_OFFERED = 12
"""Random pairs for each query that is to be added: the attributes of most cannot be worded."""


def main() -> None:
    """Runs what is missing under --out and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=9000, help="queries to add")
    parser.add_argument("--offered", type=int, help="mined pairs for each of them", default=4)
    parser.add_argument("--uses", type=int, help="mined pairs that a photo may be in", default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, a thread each")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    options = parser.parse_args()

    dataset, embeddings = prepared(options.out)
    plain = Place(options.out / "none", dataset, embeddings, options.epochs, options.device)
    seeds = range(options.seeds)
    at_once(options.jobs, run, [(plain, DEFAULTS, seed) for seed in seeds])
    offered = {RANDOM: RANDOM_OFFERED * options.count, MINED: options.offered * options.count}
    added = [
        Added(plain, source, options.count, seed, offered[source], options.uses)
        for seed in seeds
        for source in SOURCES
    ]
    for each in added:
        each.make()
    store = with_captions(plain, added)
    work = [
        (replace(plain, out=a.folder, dataset=a.dataset, embeddings=store), DEFAULTS, a.seed)
        for a in added
    ]
    at_once(options.jobs, run, work)
    for line in table(plain, added):
        print(line, flush=True)  # noqa: T201


@dataclass(frozen=True)
class Added:
    """A dataset with more queries, of one source and seed."""

    plain: Place
    """The dataset as it is, and what was trained on it."""
    source: str
    count: int
    seed: int
    offered: int
    """Pairs that are to be worded."""
    uses: int
    """Mined pairs that a photo may be in: the first of every reference come before the second of
    any."""

    @property
    def folder(self) -> Path:
        uses = f"-in-{self.uses}" if self.source == MINED else ""
        return self.plain.out.with_name(f"{self.count}-{self.source}-of-{self.offered}{uses}")

    @property
    def dataset(self) -> Path:
        return self.folder / f"dataset-{self.seed}"

    def file(self, name: str) -> Path:
        """A file of pairs."""
        return self.folder / f"{name}-{self.seed}.parquet"

    def make(self) -> None:
        """Makes the dataset, where it is missing."""
        if self.dataset.exists():
            return
        offered, worded, first = map(self.file, ("offered", "worded", "added"))
        if self.source == MINED:
            propose(self, offered)
        else:
            write_pairs(random_pairs(self), offered, {})
        caption_pairs.run(
            CaptionPairsConfig(
                dataset=self.plain.dataset,
                pairs=offered,
                out=worded,
                seed=self.seed,
                overwrite=True,
            )
        )
        held = read_pairs(worded)
        if len(held.pairs) < self.count:
            raise SystemExit(
                f"{worded} holds {len(held.pairs)} pairs: pass a lower --count or more --offered"
            )
        write_pairs(held.pairs[: self.count], first, held.metadata)
        add_queries.run(
            AddQueriesConfig(
                dataset=self.plain.dataset, pairs=first, out=self.dataset, link="symlink"
            )
        )


def propose(added: Added, out: Path) -> None:
    """Pairs by the combiner that was trained on the dataset as it is."""
    asked = MineConfig(
        query="combiner",
        checkpoint=added.plain.out / DEFAULTS.folder / f"seed-{added.seed}",
        out=added.file("mined"),
        propose=out,
        propose_count=added.offered,
        propose_uses=added.uses,
        seed=added.seed,
        sampling="top",
        device=added.plain.device,
        overwrite=True,
        **added.plain.files,
    )
    mine.run(asked)


def random_pairs(added: Added) -> list[ProposedPair]:
    """References of queries with any photo of their category that is no target of theirs."""
    dataset, rng = Dataset(added.plain.dataset), np.random.default_rng(added.seed)
    queries, galleries = dataset.queries("train"), dataset.galleries("train")
    known = {(q.reference_id, image) for q in queries for image in (q.reference_id, *q.known_ids)}
    pairs: dict[tuple[str, str], ProposedPair] = {}
    while len(pairs) < added.offered:
        query = queries[rng.integers(len(queries))]
        gallery = galleries[query.category]
        pair = query.reference_id, gallery[rng.integers(len(gallery))]
        if pair not in known:
            pairs.setdefault(pair, ProposedPair(*pair, query.category))
    return list(pairs.values())


def with_captions(plain: Place, added: Sequence[Added]) -> Path:
    """The store with the vectors of all new captions; photos need not be embedded again."""
    named = "-".join(sorted({each.folder.name for each in added}))
    path = plain.out.with_name(f"embeddings-{named}-{len(added)}.h5")
    if path.exists():
        return path
    store = read_embeddings(plain.embeddings)
    texts = {text for each in added for text in caption_texts(Dataset(each.dataset))}
    new = sorted(texts - set(store.captions.keys))
    device = pick_device(plain.device)
    encoder = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=device
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


def table(plain: Place, added: Sequence[Added]) -> Iterator[str]:
    """The rows of Markdown."""
    heads = [f"{split} {gallery} {name}" for split, gallery, name in COLUMNS]
    yield f"| {added[0].count:,} queries added from | targets | worded | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(heads) + 2)
    seeds = sorted({each.seed for each in added})
    yield f"| none | | | {recalls(plain.out, seeds)} |"
    for source in SOURCES:
        own = [each for each in added if each.source == source]
        worded = [read_pairs(each.file("worded")).pairs for each in own]
        firsts = [read_pairs(each.file("added")).pairs for each in own]
        targets = mean(len(pair.every_target_id) for pairs in firsts for pair in pairs)
        offered = [read_pairs(each.file("offered")).pairs for each in own]
        share = mean(len(some) / len(all_) for some, all_ in zip(worded, offered, strict=True))
        cells = recalls(own[0].folder, seeds)
        yield f"| {source} pairs | {targets:.1f} | {share:.0%} | {cells} |"


def recalls(folder: Path, seeds: Sequence[int]) -> str:
    """The cells of a row."""
    found = [figures(folder / DEFAULTS.folder / f"seed-{seed}") for seed in seeds]
    return " | ".join(spread(values) for values in zip(*found, strict=True))


if __name__ == "__main__":
    main()
