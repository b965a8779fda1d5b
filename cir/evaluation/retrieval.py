"""Exact ranks: where each query's target stands in its gallery, and what stands first.

A gallery is ordered by falling cosine similarity, equal similarities by gallery row, so that every
rank is one number whatever the machine. Queries are compared a block at a time, which bounds the
memory to `block_size` rows of the gallery's length.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK: Final = 256
"""Queries compared with the whole gallery at once."""

NONE: Final = -1
"""The row that stands for no row."""


def rank_targets(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery dim"],
    targets: Sequence[Int[np.ndarray, " _"]],
    removed: Int[np.ndarray, " queries"],
    *,
    device: torch.device,
    block_size: int = BLOCK,
) -> Int[np.ndarray, " queries"]:
    """The rank of each query's best target; 1 is first.

    Its other targets are not nearer than the best one, so they never count against it.

    Args:
        query_vectors: Unit vectors.
        gallery_vectors: Unit vectors.
        targets: Gallery rows of each query's targets, at least one, none of them removed.
        removed: The gallery row that each query may not retrieve, or `NONE`.
        device: Where similarities are computed.
        block_size: Queries compared at once.
    """
    padded = _padded(targets).to(device)
    ranks = []
    for rows, similarities in _blocks(query_vectors, gallery_vectors, removed, device, block_size):
        best_row, best = _best_target(similarities, padded[rows])
        ahead = similarities > best[:, None]
        ahead |= (similarities == best[:, None]) & _before(best_row, similarities.shape[1])
        ranks.append(1 + ahead.sum(dim=1))
    return torch.cat(ranks).cpu().numpy() if ranks else np.zeros(0, dtype=np.int64)


def top_k(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery dim"],
    k: int,
    removed: Int[np.ndarray, " queries"],
    *,
    device: torch.device,
    block_size: int = BLOCK,
) -> Int[np.ndarray, "queries k"]:
    """The first k gallery rows of each query, in the order that `rank_targets` counts.

    A removed row stands last, so it appears only where k is the whole gallery.
    """
    blocks = _blocks(query_vectors, gallery_vectors, removed, device, block_size)
    first = [s.sort(dim=1, descending=True, stable=True).indices[:, :k] for _, s in blocks]
    return torch.cat(first).cpu().numpy() if first else np.zeros((0, k), dtype=np.int64)


def _blocks(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery dim"],
    removed: Int[np.ndarray, " queries"],
    device: torch.device,
    block_size: int,
) -> Iterator[tuple[slice, Float[Tensor, "block gallery"]]]:
    """Similarities of consecutive queries with the gallery; a removed row's is -inf."""
    gallery = torch.from_numpy(gallery_vectors).to(device)
    for start in range(0, len(query_vectors), block_size):
        rows = slice(start, start + block_size)
        similarities = torch.from_numpy(query_vectors[rows]).to(device) @ gallery.T
        barred = torch.from_numpy(removed[rows]).to(device)
        kept = torch.nonzero(barred != NONE).squeeze(1)
        similarities[kept, barred[kept]] = -torch.inf
        yield rows, similarities


def _best_target(
    similarities: Float[Tensor, "block gallery"], targets: Int[Tensor, "block targets"]
) -> tuple[Int[Tensor, " block"], Float[Tensor, " block"]]:
    """The row and the similarity of the target that stands first."""
    found = similarities.gather(1, targets.clamp(min=0)).masked_fill(targets == NONE, -torch.inf)
    best = found.max(dim=1).values
    beyond = similarities.shape[1]
    first = targets.masked_fill(found < best[:, None], beyond).masked_fill(targets == NONE, beyond)
    return first.min(dim=1).values, best


def _before(rows: Int[Tensor, " block"], gallery: int) -> Bool[Tensor, "block gallery"]:
    """Which gallery rows come before the given one, which is how ties are broken."""
    return torch.arange(gallery, device=rows.device)[None, :] < rows[:, None]


def _padded(targets: Sequence[Int[np.ndarray, " _"]]) -> Int[Tensor, "queries targets"]:
    """Ragged rows as one array, filled up with `NONE`."""
    most = max((len(rows) for rows in targets), default=0)
    padded = np.full((len(targets), most), NONE, dtype=np.int64)
    for query, rows in enumerate(targets):
        padded[query, : len(rows)] = rows
    return torch.from_numpy(padded)
