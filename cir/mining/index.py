"""Flat search over unit vectors: the only module that knows FAISS.

FAISS finds nearest neighbours, on the GPU where there is one, and near-duplicates. The bands of
mining are scanned with `similarities` instead: a target's rank and the size of its band are counts
over the whole gallery, and any top-k ends before the band of a poorly ranked target begins.
"""

from functools import cached_property
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from cir.errors import VectorError


class FlatIndex:
    """Exact inner-product search over the rows of a table of unit vectors."""

    def __init__(self, vectors: Float32[np.ndarray, "gallery dim"], device: torch.device) -> None:
        """Holds the vectors; the FAISS index is built by the first search.

        Args:
            vectors: Unit vectors, at least one.
            device: CUDA searches and multiplies on the GPU; any other on the CPU.

        Raises:
            VectorError: there are no vectors.
        """
        if not vectors.size:
            raise VectorError("the gallery holds no vectors: nothing can be searched for")
        self._vectors = np.ascontiguousarray(vectors)
        self._device = device if device.type == "cuda" else torch.device("cpu")

    def search(
        self, queries: Float32[np.ndarray, "queries dim"], k: int
    ) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
        """The k rows nearest to each query, nearest first, with their cosines.

        At most the whole gallery is returned, however large k is.
        """
        self._require_dim(queries)
        cosines, rows = self._searched.search(
            np.ascontiguousarray(queries), min(k, len(self._vectors))
        )
        return cosines, rows

    def within(
        self, queries: Float32[np.ndarray, "queries dim"], threshold: float
    ) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
        """Every (query, row) whose cosine is above `threshold`, as two parallel arrays.

        FAISS has this search on the CPU alone.
        """
        self._require_dim(queries)
        ends, _, rows = self._flat.range_search(np.ascontiguousarray(queries), threshold)
        counts = np.diff(ends.astype(np.int64))
        return np.repeat(np.arange(len(queries)), counts), rows.astype(np.int64)

    def similarities(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        out: Float32[np.ndarray, "queries gallery"],
    ) -> None:
        """Writes the cosine of every query with every row into `out`: one matrix product.

        On the CPU by NumPy's BLAS, which was measured faster than torch's.
        """
        self._require_dim(queries)
        if self._device.type == "cuda":
            product = torch.from_numpy(queries).to(self._device) @ self._resident.T
            torch.from_numpy(out).copy_(product)
        else:
            np.matmul(queries, self._vectors.T, out=out)

    def _require_dim(self, queries: Float32[np.ndarray, "queries dim"]) -> None:
        found, expected = queries.shape[1], self._vectors.shape[1]
        if found != expected:
            raise VectorError(f"the queries are {found}-d; the gallery holds {expected}-d vectors")

    @cached_property
    def _flat(self) -> Any:
        index = faiss.IndexFlatIP(self._vectors.shape[1])
        index.add(self._vectors)
        return index

    @cached_property
    def _searched(self) -> Any:
        """The index that `search` asks, on the GPU where FAISS and the device both allow it."""
        if self._device.type != "cuda" or not hasattr(faiss, "StandardGpuResources"):
            return self._flat
        number = self._device.index or 0
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, self._flat)

    @cached_property
    def _resident(self) -> Tensor:
        return torch.from_numpy(self._vectors).to(self._device)
