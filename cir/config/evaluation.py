"""`cir inspect`, `cir evaluate` and `cir report`: what was mined and trained is judged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option, required
from cir.config.faults import below, empty, outside, repeated, replaces_nothing, unused
from cir.config.values import (
    LARGEST_SEED,
    RUN,
    CaptionRule,
    Device,
    GalleryName,
    ReferenceRule,
)
from cir.names import REPORT_FILE
from cir.types import Artefact, Composition, Split


@dataclass(frozen=True, kw_only=True)
class InspectConfig(Config):
    """Look at a manifest, or compare two: figures on the screen, triplets as photos in a page."""

    manifest: Path = required("Input", argument=True)
    """Manifest of `cir mine`."""
    other: Path | None = option(None, "Input", argument=True)
    """A second manifest, to see what changed from the first to it."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder that was mined: its photos enter the page, and its images that were never
    used as negatives are counted."""
    html: Path | None = option(None, "Page", writes="page")
    """Write a page that needs no network to this HTML file."""
    rows: int = option(200, "Page")
    """Queries shown in the page, drawn evenly over categories and kinds; the ten hardest, or of
    two manifests the ten most changed, always are."""
    overwrite: bool = option(False, "Page")
    """Replace an HTML file that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from replaces_nothing(self)
        yield from outside(self, 10, 2000, "rows")
        if self.html is None:
            yield from unused(self, "of the page, and `html` names none", "rows")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Rank the gallery for every query of a split and report Recall@K, of one run or of two."""

    run: Path | None = option(None, "Query", argument=True)
    """Run folder, or one of its checkpoints; by default runs/default when `query` is combiner."""
    other: Path | None = option(None, "Query", argument=True)
    """A second run, to see what changes from the first to it."""
    query: Composition = option("combiner", "Query")
    """Composed query: combiner, or a baseline: reference, text, sum, or weighted-sum, whose share
    of the text is that with the best R@10 on a tenth of the training references."""
    clip4cir_combiner: Path | None = option(None, "Query")
    """Composed query: CLIP4Cir's published Combiner in this file, in place of a run; with `compare`
    and a run, what changes from it to the run."""
    weights: Path | None = option(None, "Query", either=True)
    """CLIP that `clip4cir_combiner` was trained over, as `weights` of `cir embed` took it:
    evaluates only if the store was embedded with it."""
    dataset: Path | None = option(None, "Files")
    """Dataset folder; by default that of the run, and data/fashioniq without a run."""
    embeddings: Path | None = option(None, "Files")
    """Embedding store of `cir embed`; by default that of the run, and data/embeddings.h5 without
    a run."""
    stale_ok: bool = option(False, "Files")
    """Go on where photos have another size or time of change than when they were embedded."""
    split: Split = option("val", "Protocol")
    """Split that is reported."""
    gallery: tuple[GalleryName, ...] = option(("full",), "Protocol")
    """full: every image of the split's category; val: its references and targets only; all: every
    image of the dataset but the query's own reference. This and the next two can be given more than
    once: every combination is reported."""
    reference: tuple[ReferenceRule, ...] = option((), "Protocol")
    """Whether the reference image itself may be retrieved; by default as the benchmark has it:
    kept, and removed where the dataset is in CIRR's form."""
    captions: tuple[CaptionRule, ...] = option(("joined",), "Protocol")
    """joined: "a and b"; both-orders: the mean of "a and b" and "b and a"."""
    allow_trained: bool = option(False, "Protocol")
    """Judge also where the run was trained on references or targets of the judged queries; the
    figures are marked."""
    all_protocols: bool = option(False, "Protocol")
    """Report every combination of `gallery`, `reference` and `captions`, the standard one first."""
    compare: bool = option(False, "Comparison")
    """Test what changes from the first run to the second, or from the baseline of `query` to the
    run: a paired bootstrap over references. Two runs are compared with or without this."""
    resamples: int = option(10_000, "Comparison")
    """Draws of the bootstrap."""
    seed: int = option(0, "Comparison")
    """Seed of the draws."""
    json: Path | None = option(None, "Files", writes="figures")
    """Write the protocols and every figure to this JSON file."""
    per_query: Path | None = option(None, "Files", writes="ranks")
    """Write each query's rank and its nearest 50 images, under the first protocol, to this Parquet
    file."""
    submission: Path | None = option(None, "Files", writes="submission")
    """Write the split's rankings to this folder as FashionIQ's or CIRR's test server takes them."""
    overwrite: bool = option(False, "Files")
    """Replace files that exist."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images where a tuned encoder re-embeds; one a core by default, at most
    8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from replaces_nothing(self)
        yield from below(self, 0, "workers")
        yield from below(self, 100, "resamples")
        yield from empty(self, "gallery", "captions")
        yield from outside(self, 0, LARGEST_SEED, "seed")
        yield from self._faults_of_runs()
        if not self.compares:
            yield from unused(self, "of a comparison, and one run is judged", "resamples", "seed")
        if self.baseline and not self.compare:
            yield from unused(self, "of runs, and none is judged", "allow_trained", "workers")
        yield from repeated(self, "gallery", "reference", "captions")
        if self.all_protocols and (self.gallery, self.reference, self.captions) != _ONE_PROTOCOL:
            yield "`all_protocols` takes no `gallery`, `reference` or `captions`"
        if "all" in self.gallery and "kept" in self.reference:
            yield "`gallery='all'` is every image but the reference; leave out `reference='kept'`"
        if self.submission and (self.gallery, self.captions) != (("full",), ("joined",)):
            yield "`submission` ranks the full gallery by joined captions"
        if self.submission and self.all_protocols:
            yield "`submission` is of one protocol and takes no `all_protocols`"

    @property
    def compares(self) -> bool:
        """Whether two ways to compose queries are compared."""
        return self.compare or self.other is not None

    @property
    def baseline(self) -> str | None:
        """What needs no run of ours, as faults name it; None where two runs are compared."""
        if self.clip4cir_combiner is not None:
            return "`clip4cir_combiner`"
        return None if self.query == "combiner" else f"`query={self.query!r}`"

    def _faults_of_runs(self) -> Iterator[str]:
        if self.clip4cir_combiner is not None and self.query != "combiner":
            yield f"`clip4cir_combiner` composes the query; leave out `query={self.query!r}`"
        if self.weights is not None and self.clip4cir_combiner is None:
            yield (
                "`weights` says which CLIP `clip4cir_combiner` was trained over: pass both, or "
                "leave it out"
            )
        if self.other is not None and self.baseline:
            yield f"two runs are compared with each other and take no {self.baseline}"
        elif self.compare and self.other is None and not self.baseline:
            yield "`compare` takes a second run, or a baseline such as `query='sum'`"
        elif self.run is not None and self.baseline and not self.compare:
            yield f"{self.baseline} is a baseline: it takes a run folder only with `compare`"
        for name in ("per_query", "submission"):
            if self.compares and getattr(self, name) is not None:
                yield f"`{name}` is of one run; a comparison has two"


_ONE_PROTOCOL = (("full",), (), ("joined",))
"""The defaults of `gallery`, `reference` and `captions`."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """Write the illustrated page of a run, also of one that is still going or was stopped."""

    run: Path = option(RUN, "Files", argument=True)
    """Run folder of `cir train`, with one finished epoch at least."""
    dataset: Path | None = option(None, "Files")
    """Dataset folder; that of the run by default."""
    embeddings: Path | None = option(None, "Files")
    """Embedding store; that of the run by default."""
    out: Path | None = option(None, "Files", writes="page")
    """HTML file; report.html in the run folder, replacing any, by default."""
    overwrite: bool = option(False, "Files")
    """Replace a file in `out` that exists."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""
    workers: int | None = option(None, "Machine")
    """Processes that decode images where a tuned encoder re-embeds; one a core by default, at most
    8 where no GPU encodes."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from below(self, 0, "workers")
        if self.out is None:
            own = f"of `out`, and {REPORT_FILE} in the run folder is replaced without it"
            yield from unused(self, own, "overwrite")

    def written(self) -> dict[str, tuple[Path, Artefact]]:
        """What the command writes: by default the page in the run folder."""
        return {"out": (self.out or self.run / REPORT_FILE, "page")}

    @property
    def goes_on(self) -> bool:
        """Whether the page may be there already: that of the run folder is written again."""
        return self.out is None
