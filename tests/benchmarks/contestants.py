"""What is measured: the float32 product, FAISS's flat search, and this miner."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.artefacts.manifest import Manifest, write_manifest
from cir.config import MiningOptions
from cir.mining import manifest as manifest_module
from cir.mining.faiss_index import FlatIndex
from cir.mining.machine import Machine
from cir.types import KINDS, SCOPES
from tests.benchmarks.judging import NONE, Answer, answer_of, draws_of
from tests.benchmarks.vectors import World

_PARTS = {
    "build_gallery": "gallery: names and unit vectors",
    "find_exclusions": "validity",
    "mine_through": "bands and draws",
}
"""Steps of `cir.mining.manifest.mine_manifest` that are timed apart."""
_WRITING = "writing"
_REST = "rows under their names, the rest"


CPU = torch.device("cpu")


class Contestant(ABC):
    """One row of the table."""

    options: MiningOptions | None = None
    """What its negatives are judged by; None where it gives none."""
    sample_only = False
    """Whether it is run on the sampled queries alone, and its time scaled up."""
    device = CPU
    """Where it runs, if it can run elsewhere."""

    @abstractmethod
    def prepare(self, world: World, scratch: Path) -> Callable[[], Any]:
        """Brings the vectors into its form, off the clock.

        Returns:
            What to time; it may write into `scratch`.
        """

    def answer(self, world: World, output: Any) -> Answer | None:
        """Its negatives, from what the work gave."""
        return None

    def parts(self, output: Any) -> dict[str, float]:
        """Seconds of the steps that it is made of."""
        return {}


class Product(Contestant):
    """Every cosine as one float32 matrix product, a block of queries at a time."""

    def __init__(self, library: Literal["numpy", "torch"], block: int) -> None:
        self._library, self._block = library, block

    def prepare(self, world: World, scratch: Path) -> Callable[[], None]:
        out = np.empty((min(self._block, len(world.queries)), len(world.ids)), dtype=np.float32)
        product = _numpy_product if self._library == "numpy" else _torch_product
        queries, gallery = world.vectors, world.gallery
        return lambda: product(queries, gallery, out)


class FlatSearch(Contestant):
    """FAISS's exact search, index built included.

    A search knows no bands: they are picked from what it found, off the clock.
    """

    def __init__(self, k: int, options: MiningOptions) -> None:
        self.options, self._k = options, k

    def prepare(self, world: World, scratch: Path) -> Callable[[], Any]:
        queries, gallery, k = world.vectors, world.gallery, min(self._k, len(world.ids))

        def search() -> Any:
            return FlatIndex(gallery, self.device).search(queries, k)

        return search

    def answer(self, world: World, output: Any) -> Answer:
        cosines, rows = output
        return semi_hard_of(world, rows.astype(np.int64), cosines, self.options)


class Mine(Contestant):
    """This miner, from vectors in memory to a manifest on disk."""

    def __init__(self, options: MiningOptions) -> None:
        self.options: MiningOptions = options

    def prepare(
        self, world: World, scratch: Path
    ) -> Callable[[], tuple[Manifest, dict[str, float]]]:
        path = scratch / "manifest.parquet"

        def work() -> tuple[Manifest, dict[str, float]]:
            with _clocked(manifest_module, _PARTS) as seconds:
                started = time.perf_counter()
                manifest = mined(world, self.options, self.device)
                seconds[_REST] = time.perf_counter() - started - sum(seconds.values())
            started = time.perf_counter()
            write_manifest(manifest, path)
            seconds[_WRITING] = time.perf_counter() - started
            return manifest, seconds

        return work

    def answer(self, world: World, output: Any) -> Answer:
        manifest: Manifest = output[0]
        number_of = {query.id: number for number, query in enumerate(world.queries)}
        counts = manifest.negative_counts
        owners = np.array([number_of[i] for i in manifest.query_ids], dtype=np.int64)
        within = np.arange(counts.sum()) - np.repeat(manifest.negative_starts, counts)
        at = np.repeat(owners, counts), within
        shape = (len(world.queries), self.options.num_negatives)
        rows, claimed = np.full(shape, NONE), np.zeros(shape, dtype=np.bool_)
        scopes = np.zeros(shape, dtype=np.int8)
        rows[at] = [world.row_of[i] for i in manifest.negative_ids]
        scopes[at] = manifest.negative_scopes
        wanted = {(SCOPES.index(s), kind) for s, kind in draws_of(self.options)}
        marks = zip(manifest.negative_scopes, manifest.negative_kinds, strict=True)
        claimed[at] = [bool({(s, "any"), (s, KINDS[kind])} & wanted) for s, kind in marks]
        return Answer(np.arange(len(world.queries)), rows, claimed, scopes)

    def parts(self, output: Any) -> dict[str, float]:
        seconds: dict[str, float] = output[1]
        return seconds


def mined(world: World, options: MiningOptions, device: torch.device = CPU) -> Manifest:
    """The manifest of a world's queries."""
    return manifest_module.mine_manifest(
        world.queries,
        world.embeddings,
        world.galleries,
        world.vectors,
        options,
        manifest_module.ManifestRecord("sum", "train"),
        Machine(device),
    )


def semi_hard_of(
    world: World,
    rows: Int64[np.ndarray, "queries k"],
    cosines: Float32[np.ndarray, "queries k"],
    options: MiningOptions,
) -> Answer:
    """The first found rows that lie in the semi-hard band, by the cosines of the search itself."""
    targets = (world.vectors * world.gallery[world.targets]).sum(axis=1)[:, None]
    inside = (cosines < targets) & (cosines > targets - options.margin)
    inside &= rows != world.targets[:, None]
    order = np.argsort(~inside, axis=1, kind="stable")[:, : options.num_negatives]
    chosen = np.take_along_axis(np.where(inside, rows, NONE), order, axis=1)
    return answer_of(np.arange(len(world.queries)), chosen)


def _numpy_product(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    out: Float32[np.ndarray, "block gallery"],
) -> None:
    for start in range(0, len(queries), len(out)):
        block = queries[start : start + len(out)]
        np.matmul(block, gallery.T, out=out[: len(block)])


def _torch_product(
    queries: Float32[np.ndarray, "queries dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    out: Float32[np.ndarray, "block gallery"],
) -> None:
    images, product = torch.from_numpy(gallery), torch.from_numpy(out)
    for start in range(0, len(queries), len(out)):
        block = torch.from_numpy(queries[start : start + len(out)])
        torch.mm(block, images.T, out=product[: len(block)])


@contextmanager
def _clocked(module: Any, names: dict[str, str]) -> Iterator[dict[str, float]]:
    """Times every call that a module makes of some of its functions while the block runs."""
    seconds: dict[str, float] = {}

    def clock(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[label] = seconds.get(label, 0) + time.perf_counter() - started
            return result

        return timed

    with ExitStack() as patches:
        for name, label in names.items():
            timed = clock(getattr(module, name), label)
            patches.enter_context(mock.patch.object(module, name, timed))
        yield seconds
