"""`cir mine` and `cir export`: negatives are mined, and handed to other libraries."""

import dataclasses
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cir.config.base import Config, option
from cir.config.faults import below, not_positive, outside, unused, wrong_suffix
from cir.config.values import (
    APPROXIMATE_INDEXES,
    DATASET,
    EMBEDDINGS,
    LARGEST_SEED,
    MANIFEST,
    PROPOSED,
    PROPOSED_USES,
    Device,
    ExportFormat,
    Index,
    OnStarved,
)
from cir.types import (
    Artefact,
    Band,
    MiningComposition,
    Sampling,
    SamplingOption,
    Scope,
    Split,
    Strategy,
)

_BY_CATEGORY: Final = (
    *("same_share", "other_share", "any_share"),
    *("same_kind", "other_kind", "any_kind"),
)
"""The settings of category-aware mining."""


@dataclass(frozen=True, kw_only=True)
class _MiningRules(Config):
    """What decides which negatives a query gets, but for where in their band they are drawn."""

    strategy: Strategy = option("semi-hard", "Negatives")
    """random, hard, semi-hard, category-aware (shares of same, other and any category), or
    adaptive (between the two steepest drops of the query's scores behind its target)."""
    num_negatives: int = option(5, "Negatives")
    """Negatives a query."""
    margin: float = option(0.2, "Negatives")
    """Margin of the semi-hard band, in cosine distance."""
    drop_window: int = option(100, "Negatives")
    """With `strategy='adaptive'`, the valid candidates behind the target that are looked at for the
    steepest drops."""
    temperature: float = option(0.05, "Negatives")
    """With `sampling='softmax'`, a candidate at distance d weighs exp(-d / temperature)."""
    same_share: float = option(0.7, "Category-aware")
    """Share of negatives from the query's own category. Of the training split any strategy takes
    the settings of this panel and a window: the curriculum of a run may come to need them."""
    other_share: float = option(0.2, "Category-aware")
    """Share from another category."""
    any_share: float = option(0.1, "Category-aware")
    """Share from the whole gallery."""
    same_kind: Band = option("semi-hard", "Category-aware")
    """Kind wanted from the query's own category."""
    other_kind: Band = option("any", "Category-aware")
    """Kind wanted from another category."""
    any_kind: Band = option("any", "Category-aware")
    """Kind wanted from the whole gallery."""
    duplicate_threshold: float = option(0.99, "False negatives")
    """A candidate whose cosine to the target reaches this is a duplicate, never a negative."""
    max_target_similarity: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the target image is above this."""
    exclude_siblings: bool = option(False, "False negatives")
    """Exclude the targets that the same reference has under other captions."""
    relative_margin: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the query is above (1 - this) of the target's."""
    max_similarity: float | None = option(None, "False negatives")
    """Exclude candidates whose cosine to the query is above this."""
    range_min: int = option(0, "False negatives")
    """Exclude this many valid candidates, those nearest to the query."""
    range_max: int | None = option(None, "False negatives")
    """Exclude all but this many valid candidates, those nearest to the query."""
    on_starved: OnStarved = option("nearest", "Negatives")
    """When the band is too small: fill with the nearest that no filter excludes, fill with such
    at random, drop the query, or fail."""
    seed: int = option(0, "Negatives")
    """Seed of every random choice."""
    index: Index = option("auto", "Index")
    """flat compares every image, exactly, by cir's own scan; faiss gives the same: a flat FAISS
    index proposes the nearest, and that scan finishes what they leave open. ivf, hnsw and ivfpq of
    FAISS find most of the nearest, and say how many on a sample mined exactly. auto is flat up to a
    trillion pairs of query and image, then ivf where the negatives are the nearest of their
    band."""
    candidates: int = option(2048, "Index")
    """Images that an index of FAISS proposes for each query; with ivf, hnsw and ivfpq negatives,
    ranks and counts are those among them, and faiss proposes 2,048 at most."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "num_negatives", "candidates")
        yield from below(self, 3, "drop_window")
        fewest = self.num_negatives + self.range_min
        if self.index in APPROXIMATE_INDEXES and not self.candidates >= fewest:
            what = "`num_negatives` and `range_min` together"
            yield f"`candidates` is {self.candidates}; expected at least {fewest}, {what}"
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from outside(self, 0, 2, "margin")
        yield from outside(self, 0, 1, "same_share", "other_share", "any_share")
        yield from outside(self, 0, 1.01, "duplicate_threshold")
        yield from outside(self, 0, 1, "relative_margin")
        yield from outside(self, -1, 1, "max_similarity", "max_target_similarity")
        yield from below(self, 0, "range_min")
        if self.range_max is not None and not self.range_max > self.range_min:
            least = f"more than `range_min`, {self.range_min}"
            yield f"`range_max` is {self.range_max}; expected {least}"
        yield from not_positive(self, "temperature")
        total = self.same_share + self.other_share + self.any_share
        if not math.isclose(total, 1, abs_tol=1e-6):
            yield f"`same_share`, `other_share` and `any_share` add up to {total:g}; expected 1"


@dataclass(frozen=True, kw_only=True)
class MiningOptions(_MiningRules):
    """What decides which negatives a query gets; the manifest records it, to mine again by."""

    sampling: Sampling = option("top", "Negatives")
    """As `MineConfig.sampling`, but for `auto`, in whose place stands what it chose."""


@dataclass(frozen=True, kw_only=True)
class MineConfig(_MiningRules):
    """Mine negatives for every query of a split into a Parquet manifest."""

    sampling: SamplingOption = option("auto", "Negatives")
    """Where in the band to draw. top takes its nearest; random draws from all of it, each equally
    likely; softmax draws nearer ones more often; auto takes what of these a pilot finds best: short
    trainings on a part of the queries, judged by R@10 on others. Where top meets a band of any
    kind, it draws at random."""
    dataset: Path = option(DATASET, "Files")
    """Dataset folder."""
    embeddings: Path = option(EMBEDDINGS, "Files")
    """Embedding store of `cir embed`."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    out: Path = option(MANIFEST, "Files", writes="manifest")
    """Manifest to write."""
    split: Split = option("train", "Query")
    """Split whose queries are mined; its images are the gallery."""
    query: MiningComposition = option("sum", "Query")
    """Composed query: reference (image only), sum (normalised image + text), or combiner."""
    text_share: float = option(0.5, "Query")
    """Share of the text with `query='sum'`; cir evaluate says with `query='weighted-sum'` which is
    best."""
    checkpoint: Path | None = option(None, "Query")
    """Checkpoint folder of the combiner, with `query='combiner'`."""
    propose: Path | None = option(None, "New queries", writes="pairs")
    """Also write the pairs of a reference and a near wrong image that would teach most as new
    queries, a .parquet or .jsonl whose captions are to be written: cir data add-queries."""
    propose_count: int = option(PROPOSED, "New queries")
    """Pairs to propose, at most."""
    propose_uses: int = option(PROPOSED_USES, "New queries")
    """Proposed pairs that a photo may be in as the reference, and as the target."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    advise: bool = option(False, "Files")
    """Mine nothing: print what the store tells about its queries (ranks of targets, look-alikes,
    how many negatives would be answers), and which strategy and filters that speaks for."""
    block_size: int = option(512, "Machine")
    """Queries compared with the gallery at once; bounds the memory."""
    overwrite: bool = option(False, "Files")
    """Replace a manifest that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "block_size")
        yield from outside(self, 0, 1, "text_share")
        if self.text_share != 0.5 and self.query != "sum":
            yield f"`text_share` is of `query='sum'`; leave it out with `query={self.query!r}`"
        if (self.query == "combiner") != (self.checkpoint is not None):
            yield "`query='combiner'` and `checkpoint` go together: pass both or neither"
        yield from self._faults_of_proposals()
        yield from self._unused_by_strategy()
        if self.index == "flat":
            yield from unused(self, "of an index, and `index='flat'` is none", "candidates")
        if self.advise:
            yield from unused(self, "of a manifest, and `advise` writes none", "overwrite")
        if self.advise and self.index in APPROXIMATE_INDEXES:
            yield f"`advise` mines exactly: leave out `index={self.index!r}`"

    def _unused_by_strategy(self) -> Iterator[str]:
        """Settings of another sampling or strategy; of train, a curriculum may come to the latter.

        Every manifest that a run mines keeps to one sampling, and a pilot tries temperatures of its
        own.
        """
        yield from unused_by_sampling(self)
        if self.split == "train":
            return
        by_category = self.strategy == "category-aware"
        kinds = (self.same_kind, self.other_kind, self.any_kind)
        yield from unused_by_bands(self, self.strategy, kinds if by_category else (self.strategy,))
        if not by_category:
            other = f"of `strategy='category-aware'`, and `strategy` is {self.strategy!r}"
            yield from unused(self, other, *_BY_CATEGORY)

    def _faults_of_proposals(self) -> Iterator[str]:
        yield from below(self, 1, "propose_count", "propose_uses")
        if self.propose is None:
            if self.propose_count != PROPOSED:
                yield "`propose_count` is of `propose=FILE`: pass both or neither"
            if self.propose_uses != PROPOSED_USES:
                yield "`propose_uses` is of `propose=FILE`: pass both or neither"
            return
        yield from wrong_suffix(self, "propose")
        if self.advise:
            yield "`advise` mines nothing, so `propose` has no pairs to list; leave one out"
        if self.split != "train":
            yield f"`propose` makes queries to train on; leave out `split={self.split!r}`"

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes; advice writes nothing."""
        return {} if self.advise else super().written()

    def options(self) -> MiningOptions:
        """The part that decides which negatives a query gets; top stands for a sampling of auto."""
        names = [item.name for item in dataclasses.fields(MiningOptions)]
        values = {name: getattr(self, name) for name in names}
        return MiningOptions(**values | ({"sampling": "top"} if self.sampling == "auto" else {}))


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Write a manifest as training examples that datasets and sentence-transformers read."""

    manifest: Path = option(MANIFEST, "Files", argument=True)
    """Manifest of `cir mine`."""
    dataset: Path | None = option(None, "Files")
    """Dataset folder: write where its photos are; without it, images are named by their ids."""
    out: Path = option(Path("data/examples.parquet"), "Files", writes="examples")
    """File to write, .parquet or .jsonl."""
    overwrite: bool = option(False, "Files")
    """Replace a file that exists."""
    format: ExportFormat = option("triplet", "Rows")
    """triplet (anchor, positive, negative), n-tuple (anchor, positive, negative_1 to negative_n;
    queries with fewer negatives are left out), or labeled-pair (anchor, positive, label 1 or 0)."""
    num_negatives: int | None = option(None, "Rows")
    """Negatives a query, its nearest; by default as many as were mined for."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 1, "num_negatives")
        yield from wrong_suffix(self, "out")


def unused_by_sampling(options: MineConfig | MiningOptions) -> Iterator[str]:
    """A temperature, where nothing is drawn by one."""
    if options.sampling != "softmax":
        other = f"of `sampling='softmax'`, and `sampling` is {options.sampling!r}"
        yield from unused(options, other, "temperature")


def unused_by_bands(
    options: MineConfig | MiningOptions, strategy: str, bands: Collection[str]
) -> Iterator[str]:
    """A window to look for drops in, where none of a strategy's bands is adaptive."""
    if "adaptive" not in bands:
        other = f"of bands that are adaptive, and `strategy` is {strategy!r}"
        yield from unused(options, other, "drop_window")


def scope_shares(options: MiningOptions) -> tuple[tuple[Scope, float, Band], ...]:
    """Category-aware mining's (scope, share, wanted kind), in the order they are filled."""
    return (
        ("same-category", options.same_share, options.same_kind),
        ("other-category", options.other_share, options.other_kind),
        ("any", options.any_share, options.any_kind),
    )
