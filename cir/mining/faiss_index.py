"""Nearest neighbours among unit vectors: the only module that knows FAISS.

`FlatIndex` compares with every vector. `CandidateIndex` looks where the nearest are likely to be,
through one of FAISS's approximate indexes: it proposes candidates, and decides nothing.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import faiss
import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from cir.config import IndexKind
from cir.errors import UsageError, VectorError
from cir.progress import SILENT, Progress
from cir.types import NO_ROW

_TRAINED_BY: Final = 64
"""Vectors of the training sample for each centroid."""
_LEAST_TRAINED_BY: Final = 39
"""Vectors for each centroid, below which FAISS warns of a poor training."""
_ITERATIONS: Final = 10
"""Of k-means, which gains little from more."""
_CODES: Final = 256
"""Centroids that a byte of a code tells apart."""
_DIMS_A_BYTE: Final = 8
_NEIGHBOURS: Final = 32
"""Links of a vector in the graph."""
_SPARE: Final = 4
"""Vectors looked at for each candidate that is proposed, of an inverted file."""
_BLOCK: Final = 16384
"""Vectors added at once."""
GPU_MOST: Final = 2048
"""Candidates, and lists looked into, that FAISS serves on a GPU at most."""


class FlatIndex:
    """Exact inner-product search over the rows of a table of unit vectors."""

    def __init__(self, vectors: Float32[np.ndarray, "gallery dim"], device: torch.device) -> None:
        """Holds the vectors; the FAISS index is built by the first search.

        Args:
            vectors: Unit vectors, at least one.
            device: CUDA searches on the GPU; any other on the CPU.

        Raises:
            VectorError: there are no vectors.
        """
        _require_vectors(vectors)
        self._vectors = np.ascontiguousarray(vectors)
        self._device = device

    def search(
        self, queries: Float32[np.ndarray, "queries dim"], k: int
    ) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
        """The k rows nearest to each query, nearest first, with their cosines.

        At most the whole gallery is returned, however large k is.
        """
        _require_dim(queries, self._vectors.shape[1])
        cosines, rows = self._index.search(
            np.ascontiguousarray(queries), min(k, len(self._vectors))
        )
        return cosines, rows

    @cached_property
    def _index(self) -> Any:
        index = _on(self._device, faiss.IndexFlatIP(self._vectors.shape[1]))
        index.add(self._vectors)
        return index


class CandidateIndex:
    """Proposes rows of a gallery that are among the nearest to a query: most of those, not all.

    Centroids are trained on a sample drawn with a fixed seed, and a graph is grown by one thread:
    the same vectors give the same index, but for the last bits of the machine's matrix products.
    """

    factory: str
    """The string by which FAISS's `index_factory` makes this index."""
    candidates: int
    """Rows proposed for each query."""
    count: int
    """Rows of the gallery."""

    def __init__(
        self,
        vectors: Float32[np.ndarray, "gallery dim"],
        kind: IndexKind,
        candidates: int,
        device: torch.device,
        progress: Progress = SILENT,
    ) -> None:
        """Builds the index.

        Args:
            vectors: Unit vectors, which may be a file mapped into memory: they are read in blocks.
                `ivf` and `hnsw` hold a copy of them, `ivfpq` a byte for every 8 dimensions or so.
            kind: Which index.
            candidates: Rows to propose for each query, or the whole gallery where it is smaller.
            device: CUDA builds and searches `ivf` on the GPU, up to FAISS's limits there; anything
                else is done on the CPU.
            progress: Shows vectors added per second.

        Raises:
            VectorError: there are no vectors.
            UsageError: there are too few to train this index.
        """
        _require_vectors(vectors)
        _require_trainable(len(vectors), kind)
        self.count, self._dim = vectors.shape
        self.candidates = min(candidates, len(vectors))
        self.factory = _factory(kind, *vectors.shape)
        self._index = self._empty_index(kind, device)
        with _threads(1 if kind == "hnsw" else None):
            self._fill(vectors, progress)

    def propose(
        self, queries: Float32[np.ndarray, "queries dim"]
    ) -> Int64[np.ndarray, "queries candidates"]:
        """Rows near to each query; `NO_ROW` behind the last where the index gives fewer."""
        _require_dim(queries, self._dim)
        rows: Int64[np.ndarray, "queries candidates"]
        _, rows = self._index.search(np.ascontiguousarray(queries), self.candidates)
        return rows

    @property
    def most_effort(self) -> int:
        """The effort of `near` with which nothing is left out: all lists, or all vectors."""
        return int(getattr(self._index, "nlist", self.count))

    def near(
        self,
        query: Float32[np.ndarray, " dim"],
        k: int,
        effort: int,
        among: Bool[np.ndarray, " gallery"],
    ) -> Int64[np.ndarray, " found"]:
        """Rows near to one query, on the CPU.

        Args:
            query: A unit vector.
            k: How many; fewer come where the index finds fewer.
            effort: Lists looked into, or of a graph, vectors looked at.
            among: The rows that may be found.
        """
        _require_dim(query[None], self._dim)
        count = min(k, self.count)
        looking = _looking(max(effort, k), effort, among, graph=hasattr(self._index, "hnsw"))
        _, (rows,) = self._index.search(np.ascontiguousarray(query[None]), count, params=looking)
        found: Int64[np.ndarray, " found"] = rows[rows != NO_ROW]
        return found

    def _empty_index(self, kind: IndexKind, device: torch.device) -> Any:
        """The index, untrained and without vectors."""
        index: Any = faiss.index_factory(self._dim, self.factory, faiss.METRIC_INNER_PRODUCT)
        if kind == "hnsw":
            index.hnsw.efSearch = self.candidates
            return index
        index.cp.niter = _ITERATIONS
        probes = math.ceil(index.nlist * min(1, _SPARE * self.candidates / self.count))
        if kind == "ivfpq":
            index.pq.cp.niter, index.pq.cp.max_points_per_centroid = _ITERATIONS, _TRAINED_BY
        elif max(probes, self.candidates) <= GPU_MOST:
            index = _on(device, index)
        index.nprobe = probes
        return index

    def _fill(self, vectors: Float32[np.ndarray, "gallery dim"], progress: Progress) -> None:
        """Trains the index, and adds the vectors in blocks."""
        if not self._index.is_trained:
            self._index.train(_sample(vectors, _TRAINED_BY * max(self._index.nlist, _CODES)))
        with progress.task("index", len(vectors), "images") as task:
            for start in range(0, len(vectors), _BLOCK):
                block = np.ascontiguousarray(vectors[start : start + _BLOCK])
                self._index.add(block)
                task.advance(len(block))


def _sample(
    vectors: Float32[np.ndarray, "gallery dim"], count: int
) -> Float32[np.ndarray, "sample dim"]:
    """Vectors drawn with a fixed seed, in the order of their rows."""
    gallery = len(vectors)
    rows = np.random.default_rng(0).choice(gallery, min(count, gallery), replace=False)
    sample: Float32[np.ndarray, "sample dim"] = np.ascontiguousarray(vectors[np.sort(rows)])
    return sample


def _looking(vectors: int, lists: int, among: Bool[np.ndarray, " gallery"], *, graph: bool) -> Any:
    """How far one search looks, and at which rows."""
    # FAISS's stubs know C++'s arguments alone.
    made: Any = faiss
    selector = made.IDSelectorBitmap(np.packbits(among, bitorder="little"))
    if graph:
        return made.SearchParametersHNSW(efSearch=vectors, sel=selector)
    return made.SearchParametersIVF(nprobe=lists, sel=selector)


def _factory(kind: IndexKind, count: int, dim: int) -> str:
    """FAISS's string: 4 √count lists, as its guidelines say, unless these are too many to train."""
    lists = max(1, min(int(4 * math.sqrt(count)), count // _LEAST_TRAINED_BY))
    numbers = max(n for n in range(1, max(1, dim // _DIMS_A_BYTE) + 1) if dim % n == 0)
    return {
        "ivf": f"IVF{lists},Flat",
        "hnsw": f"HNSW{_NEIGHBOURS},Flat",
        # Polysemous training, which np leaves out, takes minutes and serves another search.
        "ivfpq": f"IVF{lists},PQ{numbers}np",
    }[kind]


def _on(device: torch.device, index: Any) -> Any:
    """The index on the GPU, where the device is one and FAISS was built for it."""
    if device.type != "cuda" or not hasattr(faiss, "StandardGpuResources"):
        return index
    # Without a number torch means the device that is current, and FAISS the first.
    card = torch.cuda.current_device() if device.index is None else device.index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), card, index)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """A number of threads for FAISS; None leaves it."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _require_vectors(vectors: Float32[np.ndarray, "gallery dim"]) -> None:
    if not vectors.size:
        raise VectorError("the gallery holds no vectors: nothing can be searched for")


def _require_dim(queries: Float32[np.ndarray, "queries dim"], expected: int) -> None:
    dim = queries.shape[1]
    if dim != expected:
        raise VectorError(f"the queries are {dim}-d; the gallery holds {expected}-d vectors")


def _require_trainable(count: int, kind: IndexKind) -> None:
    least = {"ivf": _LEAST_TRAINED_BY, "hnsw": 1, "ivfpq": _LEAST_TRAINED_BY * _CODES}[kind]
    if count < least:
        raise UsageError(
            f"`index={kind!r}` is trained on {least:,} vectors or more; the gallery holds "
            f"{count:,}: pass `index='flat'`, which is exact and fast at this size"
        )
