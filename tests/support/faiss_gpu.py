"""FAISS as it is on a GPU, where there is none: its limits there, and what it was asked to hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import faiss
import numpy as np

LIMIT: Final = 2048
"""The greatest k and nprobe of FAISS's indexes on a GPU."""


class OnGpu:
    """An index that computes on the CPU, and refuses what one on a GPU refuses."""

    def __init__(self, index: Any) -> None:
        vars(self)["_index"] = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "nprobe":
            _require("nprobe", value)
        setattr(self._index, name, value)

    def search(self, queries: np.ndarray, k: int) -> Any:
        _require("k", k)
        return self._index.search(queries, k)


def _require(name: str, value: int) -> None:
    if value > LIMIT:
        raise RuntimeError(f"GPU index only supports {name} up to {LIMIT} (requested {value})")


@contextmanager
def faiss_on_gpu() -> Iterator[list[OnGpu]]:
    """Moves indexes to a GPU that is none; gives those that were moved."""
    moved: list[OnGpu] = []

    def move(_: object, __: int, index: Any) -> OnGpu:
        moved.append(OnGpu(index))
        return moved[-1]

    with (
        mock.patch.object(faiss, "StandardGpuResources", object, create=True),
        mock.patch.object(faiss, "index_cpu_to_gpu", move, create=True),
    ):
        yield moved
