"""`cir search`, `cir serve` and `cir index`: a gallery is searched."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cir.config.base import Config, option, required
from cir.config.faults import below, no_address, of_a_query, outside, replaces_nothing
from cir.config.values import SEARCH_INDEXES, Device, MilvusKind


@dataclass(frozen=True, kw_only=True)
class GalleryConfig(Config):
    """What is searched, and by what."""

    run: Path | None = option(None, "Input", argument=True)
    """Run folder of `cir train`, or one of its checkpoints; without one, the plain sum of image and
    text searches."""
    store: Path | None = option(None, "Input", either=True)
    """What is searched: an embedding store, a dataset folder with its store beside it, or a folder
    of photos, which is embedded first and kept; the store of the run by default."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder of the store's photos, titles and categories; found beside the store, or
    named by the run, by default."""
    weights: Path | None = option(None, "Input", either=True)
    """Weight file that the store was embedded with, where it was one."""
    index: str = option("auto", "Input")
    """How the vectors are searched. flat compares with every one; ivf, hnsw and ivfpq are built
    first and compare with some, and their recall is measured and told; auto is flat up to 250,000
    photos, and beyond them ivf where more than one query is to come. The address of a collection
    that cir index push filled from the store searches in Milvus: milvus://HOST:PORT/COLLECTION, or
    milvus:///path/to/FILE.db/COLLECTION for Milvus Lite."""
    device: Device = option("auto", "Machine")
    """auto takes the GPU where there is one."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.run is None and self.store is None:
            yield "nothing to search: pass `run`, or `store`, or both"
        if self.index not in SEARCH_INDEXES:
            yield from no_address(self.index, "index", f"{', '.join(SEARCH_INDEXES)}, or ")


@dataclass(frozen=True, kw_only=True)
class SearchConfig(GalleryConfig):
    """Search a gallery by a photo, a text, or a photo changed by a text."""

    image: tuple[str, ...] = option((), "Query")
    """Reference: an image file, or the id of a photo of the gallery. Given more than once, their
    mean counts. It is no result, nor are its copies."""
    text: str = option("", "Query")
    """What to change of the reference, or what to find where there is none."""
    like: tuple[str, ...] = option((), "Query")
    """File or id of a photo that the results shall be more like; can be given more than once."""
    unlike: tuple[str, ...] = option((), "Query")
    """File or id of a photo that they shall be less like; can be given more than once."""
    less: tuple[str, ...] = option((), "Query")
    """Text that they shall be less like, such as stripes; can be given more than once."""
    weight: float | None = option(None, "Query")
    """Share of the text: 0 is the image alone, 1 the text alone, 0.5 and the default are what the
    retriever makes of both."""
    top: int = option(10, "Results")
    """How many results."""
    category: str | None = option(None, "Results")
    """Search this category alone."""
    without: tuple[str, ...] = option((), "Results")
    """Id that is never a result; can be given more than once."""
    copies: bool = option(False, "Results")
    """Show near-copies as results of their own, in place of folded into the better one."""
    html: Path | None = option(None, "Results", writes="page")
    """Write the results with their photos to this HTML file, which needs no network."""
    json: bool = option(False, "Results")
    """Print the results as JSON, and nothing else."""
    overwrite: bool = option(False, "Results")
    """Replace an HTML file that exists."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from replaces_nothing(self)
        yield from outside(self, 1, 1000, "top")
        yield from outside(self, 0, 1, "weight")
        yield from of_a_query(
            image=bool(self.image),
            text=bool(self.text.strip()),
            like=bool(self.like),
            less=self.less,
            weight=self.weight,
        )


@dataclass(frozen=True, kw_only=True)
class ServeConfig(GalleryConfig):
    """Serve a page and a JSON API that search a gallery."""

    other: Path | None = option(None, "Input", argument=True)
    """A second run, to compare with the first side by side."""
    host: str = option("127.0.0.1", "Server")
    """Address to listen at; only this machine reaches the default."""
    port: int = option(7860, "Server")
    """Port to listen at; 0 takes a free one."""
    hostname: tuple[str, ...] = option((), "Server")
    """A name that requests may be addressed to, as a proxy in front passes it on; can be given more
    than once. On the default address names of this machine are answered as well; on another address
    any name is, unless this names the only ones."""
    queue: int = option(256, "Server")
    """Requests that may wait; beyond them the answer is 503 with Retry-After."""
    writable: bool = option(False, "Server")
    """Let requests that carry the token add and remove photos."""
    token_file: Path | None = option(None, "Server")
    """File whose first line is the token; by default the environment variable CIR_TOKEN is."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from outside(self, 0, 65535, "port")
        yield from below(self, 1, "queue")
        for name in self.hostname:
            if not name or "*" in name:
                yield f"`hostname` is {name!r}; expected a name without wildcards"
        if self.token_file is not None and not self.writable:
            yield "`token_file` is of no use without `writable`"


@dataclass(frozen=True, kw_only=True)
class PushConfig(Config):
    """Fill a collection in Milvus with the vectors of a store, for search and serve to search."""

    store: Path = required("Input", either=True)
    """Embedding store, or a dataset folder with its store beside it."""
    to: str = required("Output")
    """Collection to fill: milvus://HOST:PORT/COLLECTION, or milvus:///path/to/FILE.db/COLLECTION
    for Milvus Lite, which keeps it in one file. It then holds the photos of the store and no
    others; one that cir did not make is refused."""
    dataset: Path | None = option(None, "Input")
    """Dataset folder that names the photos' categories; found beside the store by default."""
    kind: MilvusKind | None = option(None, "Output")
    """How Milvus searches the collection: flat compares with every vector, which is exact and the
    default; ivf and hnsw are for millions, and their recall is measured and told. Milvus Lite has
    no hnsw."""
    overwrite: bool = option(False, "Output")
    """Fill a collection that holds other photos, none of which is in the store."""

    def faults(self) -> Iterator[str]:
        yield from no_address(self.to, "to")
