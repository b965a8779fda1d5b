"""Near-duplicates: every pair of unit vectors whose cosine reaches a threshold, exactly.

Comparing all targets with the whole gallery would cost as much as mining itself. For an orthonormal
P with a few columns, the Cauchy-Schwarz inequality on what P leaves over gives

    x·y ≤ Px·Py + |x − PPᵀx| |y − PPᵀy|,

the inner product of two short vectors [Px, |rest of x|]. FAISS searches those; the few pairs whose
bound reaches the threshold are then compared in full, so that none is missed and none invented.
"""

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.mining.index import FlatIndex
from cir.mining.similarity import paired_cosines

_SKETCH: Final = 48
"""Columns of P."""
_SAMPLE: Final = 4096
"""Gallery rows that P is fitted to."""
_SLACK: Final = 1e-4
"""Room for the roundings of the sketch: the bound may only be too high."""
_BLOCK: Final = 1024
"""Vectors searched for at once, which bounds the memory."""
_CPU: Final = torch.device("cpu")


def near_copies(
    wanted: Float32[np.ndarray, "wanted dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    threshold: float,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Every (row of `wanted`, row of `gallery`) whose cosine is at least `threshold`.

    Cosines are those of `cir.mining.similarity`, compared in float32.
    """
    basis = _basis(gallery)
    index = FlatIndex(_sketched(gallery, basis), _CPU)
    found = [
        _confirmed(index, wanted, gallery, basis, start, threshold)
        for start in range(0, len(wanted), _BLOCK)
    ]
    none = np.zeros(0, dtype=np.int64)
    return (
        np.concatenate([none, *(rows for rows, _ in found)]),
        np.concatenate([none, *(rows for _, rows in found)]),
    )


def _confirmed(
    index: FlatIndex,
    wanted: Float32[np.ndarray, "wanted dim"],
    gallery: Float32[np.ndarray, "gallery dim"],
    basis: Float32[np.ndarray, "dim sketch"],
    start: int,
    threshold: float,
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs of one block of `wanted`."""
    block = wanted[start : start + _BLOCK]
    rows, gallery_rows = index.within(_sketched(block, basis), threshold - _SLACK)
    reached = paired_cosines(block, rows, gallery, gallery_rows) >= np.float32(threshold)
    return rows[reached] + start, gallery_rows[reached]


def _basis(gallery: Float32[np.ndarray, "gallery dim"]) -> Float32[np.ndarray, "dim sketch"]:
    """The leading eigenvectors of the second moments of a sample: they leave the least over."""
    sample = gallery[:: -(-len(gallery) // _SAMPLE)].astype(np.float64)
    _, vectors = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(vectors[:, -_SKETCH:], dtype=np.float32)


def _sketched(
    vectors: Float32[np.ndarray, "rows dim"], basis: Float32[np.ndarray, "dim sketch"]
) -> Float32[np.ndarray, "rows short"]:
    """[Px, an upper bound of |x − PPᵀx|] of each row."""
    kept = vectors @ basis
    rest = np.sqrt(np.maximum(1 - np.square(kept).sum(axis=1), 0) + np.float32(_SLACK))
    return np.concatenate([kept, rest[:, None]], axis=1)
