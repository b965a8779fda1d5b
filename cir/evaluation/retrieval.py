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
    places = padded(targets).to(device)
    ranks = [
        best_targets(retrievable(found, barred), places[rows])[0]
        for rows, found, barred in _blocks(
            query_vectors, gallery_vectors, removed, device, block_size
        )
    ]
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
    first = [
        first_rows(retrievable(found, barred), k)
        for _, found, barred in _blocks(query_vectors, gallery_vectors, removed, device, block_size)
    ]
    return torch.cat(first).cpu().numpy() if first else np.zeros((0, k), dtype=np.int64)


def similarity_blocks(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "gallery dim"],
    block_size: int = BLOCK,
) -> Iterator[tuple[slice, Float[Tensor, "block gallery"]]]:
    """Cosines of consecutive queries with the gallery, all of them unit vectors."""
    for start in range(0, len(queries), block_size):
        rows = slice(start, start + block_size)
        yield rows, queries[rows] @ gallery.T


def retrievable(
    similarities: Float[Tensor, "block gallery"],
    removed: Int[Tensor, " block"],
    inside: Bool[Tensor, " gallery"] | None = None,
) -> Float[Tensor, "block gallery"]:
    """The similarities, -inf where a query may not retrieve the image.

    Args:
        similarities: Left as they are.
        removed: The column that each query may not retrieve, or `NONE`.
        inside: The columns that any query may retrieve; all, where None.
    """
    barred = torch.nonzero(removed != NONE).squeeze(1)
    if inside is None and not len(barred):
        return similarities
    allowed = (
        similarities.clone() if inside is None else similarities.masked_fill(~inside, -torch.inf)
    )
    allowed[barred, removed[barred]] = -torch.inf
    return allowed


def best_targets(
    similarities: Float[Tensor, "block gallery"], targets: Int[Tensor, "block targets"]
) -> tuple[Int[Tensor, " block"], Int[Tensor, " block"]]:
    """The rank and the column of each query's best target; 0 and `NONE` where it has none.

    Args:
        similarities: Those of `retrievable`.
        targets: Columns, filled up with `NONE`.
    """
    if not targets.shape[1]:
        return torch.zeros_like(targets.sum(dim=1)), torch.full_like(targets.sum(dim=1), NONE)
    found = similarities.gather(1, targets.clamp(min=0)).masked_fill(targets == NONE, -torch.inf)
    best = found.max(dim=1, keepdim=True).values
    beyond = similarities.shape[1]
    absent = (found < best) | (targets == NONE)
    column = targets.masked_fill(absent, beyond).min(dim=1).values
    ranks = 1 + torch.count_nonzero(similarities > best, dim=1)
    ranks += _equal_before(similarities, best, column, ranks)
    none = column == beyond
    return ranks.masked_fill(none, 0), column.masked_fill(none, NONE)


def first_rows(similarities: Float[Tensor, "block gallery"], k: int) -> Int[Tensor, "block k"]:
    """The first k columns of each row, equal ones in the order of the columns."""
    rows = similarities.topk(k, dim=1).indices.sort(dim=1).values
    rows = by_similarity(similarities, rows)
    last = similarities.gather(1, rows[:, -1:])
    # Of several that share the last place, topk takes any.
    tied = torch.count_nonzero(similarities >= last, dim=1) > k
    if tied.any():
        order = similarities[tied].sort(dim=1, descending=True, stable=True).indices
        rows[tied] = order[:, :k]
    return rows


def by_similarity(
    similarities: Float[Tensor, "block gallery"], columns: Int[Tensor, "block some"]
) -> Int[Tensor, "block some"]:
    """Some columns of each row, the most similar first, equal ones in the order of the columns.

    Args:
        similarities: Of each query with the gallery.
        columns: Ascending, filled up with `NONE` at the end, which stay there.
    """
    found = similarities.gather(1, columns.clamp(min=0)).masked_fill(columns == NONE, -torch.inf)
    return columns.gather(1, found.sort(dim=1, descending=True, stable=True).indices)


def padded(rows: Sequence[Int[np.ndarray, " _"]]) -> Int[Tensor, "queries most"]:
    """Ragged rows as one array, filled up with `NONE`."""
    most = max((len(own) for own in rows), default=0)
    filled = np.full((len(rows), most), NONE, dtype=np.int64)
    for query, own in enumerate(rows):
        filled[query, : len(own)] = own
    return torch.from_numpy(filled)


def _blocks(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery dim"],
    removed: Int[np.ndarray, " queries"],
    device: torch.device,
    block_size: int,
) -> Iterator[tuple[slice, Float[Tensor, "block gallery"], Int[Tensor, " block"]]]:
    """Similarities of consecutive queries with the gallery, and what each may not retrieve."""
    queries, gallery, barred = (
        torch.from_numpy(array).to(device) for array in (query_vectors, gallery_vectors, removed)
    )
    for rows, similarities in similarity_blocks(queries, gallery, block_size):
        yield rows, similarities, barred[rows]


def _equal_before(
    similarities: Float[Tensor, "block gallery"],
    best: Float[Tensor, "block 1"],
    column: Int[Tensor, " block"],
    ranks: Int[Tensor, " block"],
) -> Int[Tensor, " block"]:
    """Images as similar as the best target that come before it in the gallery."""
    before = torch.zeros_like(ranks)
    level = torch.count_nonzero(similarities >= best, dim=1)
    tied = torch.nonzero(level > ranks).squeeze(1)
    if len(tied):
        columns = torch.arange(similarities.shape[1], device=similarities.device)
        equal = similarities[tied] == best[tied]
        before[tied] = torch.count_nonzero(equal & (columns < column[tied, None]), dim=1)
    return before
