"""Exact ranks: where each query's target stands in its gallery, and which images stand first.

A gallery is ordered by falling cosine similarity, equal similarities by gallery row, so that every
rank is one number whatever the machine. Queries are compared a block at a time, which bounds the
memory to `block_size` rows of the gallery's length.

`rank_targets` ranks plain arrays. `cir.evaluation.evaluator` ranks datasets, by the same functions.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cir.errors import UsageError, VectorError
from cir.machine.arithmetic import float32
from cir.types import NO_ROW

BLOCK: Final = 256
"""Queries compared with the whole gallery at once."""


def rank_targets(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery gallery_dim"],
    targets: Sequence[Int[np.ndarray, " _"]],
    excluded: Int[np.ndarray, " _"],
    *,
    device: torch.device,
    block_size: int = BLOCK,
) -> Int[np.ndarray, " queries"]:
    """The rank of each query's best target; 1 is first.

    A query's other targets are not nearer than the best one, so they never count against it.

    Args:
        query_vectors: Unit vectors.
        gallery_vectors: Unit vectors.
        targets: Gallery rows of each query's targets, at least one, none of them excluded.
        excluded: The gallery row that each query may not retrieve, or `NO_ROW`.
        device: Where similarities are computed.
        block_size: Queries compared at once.

    Raises:
        VectorError: queries and gallery differ in dimension, or a component is not finite.
        UsageError: rows are not one entry a query, are outside the gallery, or name no target
            that may be retrieved.
    """
    _require_rankable(query_vectors, gallery_vectors, targets, excluded, block_size)
    columns, excluded_columns = padded(targets).to(device), torch.from_numpy(excluded).to(device)
    queries, gallery = (
        torch.from_numpy(vectors).to(device) for vectors in (query_vectors, gallery_vectors)
    )
    ranks = [
        best_targets(retrievable(similarities, excluded_columns[rows]), columns[rows])[0]
        for rows, similarities in similarity_blocks(queries, gallery, block_size)
    ]
    return torch.cat(ranks).cpu().numpy() if ranks else np.zeros(0, dtype=np.int64)


def similarity_blocks(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "gallery dim"],
    block_size: int = BLOCK,
) -> Iterator[tuple[slice, Float[Tensor, "block gallery"]]]:
    """Cosines of consecutive queries with the gallery, all of them unit vectors.

    Yields:
        Which queries, and their cosines.
    """
    for start in range(0, len(queries), block_size):
        rows = slice(start, start + block_size)
        with float32():
            similarities = queries[rows] @ gallery.T
        yield rows, similarities


def retrievable(
    similarities: Float[Tensor, "block gallery"],
    excluded: Int[Tensor, " block"],
    in_gallery: Bool[Tensor, " gallery"] | None = None,
) -> Float[Tensor, "block gallery"]:
    """The similarities, −inf where a query may not retrieve the image.

    Args:
        similarities: Left as they are.
        excluded: The column that each query may not retrieve, or `NO_ROW`.
        in_gallery: The columns that any query may retrieve; None for all.
    """
    excluding = torch.nonzero(excluded != NO_ROW).squeeze(1)
    if in_gallery is None and not len(excluding):
        return similarities
    allowed = (
        similarities.clone()
        if in_gallery is None
        else similarities.masked_fill(~in_gallery, -torch.inf)
    )
    allowed[excluding, excluded[excluding]] = -torch.inf
    return allowed


def best_targets(
    similarities: Float[Tensor, "block gallery"], targets: Int[Tensor, "block targets"]
) -> tuple[Int[Tensor, " block"], Int[Tensor, " block"]]:
    """The rank and the column of each query's best target.

    Args:
        similarities: Those of `retrievable`.
        targets: Columns, padded with `NO_ROW`.

    Returns:
        Ranks, 1 being first, and columns; 0 and `NO_ROW` where a query has no target.
    """
    if not targets.shape[1]:
        return torch.zeros_like(targets.sum(dim=1)), torch.full_like(targets.sum(dim=1), NO_ROW)
    padding = targets == NO_ROW
    cosines = similarities.gather(1, targets.clamp(min=0)).masked_fill(padding, -torch.inf)
    best = cosines.max(dim=1, keepdim=True).values
    past_the_end = similarities.shape[1]
    column = targets.masked_fill((cosines < best) | padding, past_the_end).min(dim=1).values
    ranks = 1 + torch.count_nonzero(similarities > best, dim=1)
    ranks += _equal_before(similarities, best, column, ranks)
    without_target = column == past_the_end
    return ranks.masked_fill(without_target, 0), column.masked_fill(without_target, NO_ROW)


def nearest_columns(similarities: Float[Tensor, "block gallery"], k: int) -> Int[Tensor, "block k"]:
    """The first k columns of each row, equal ones in the order of the columns."""
    columns = similarities.topk(k, dim=1).indices.sort(dim=1).values
    columns = by_similarity(similarities, columns)
    last = similarities.gather(1, columns[:, -1:])
    # Where several columns tie for the last place, topk takes any of them.
    tied = torch.count_nonzero(similarities >= last, dim=1) > k
    if tied.any():
        order = similarities[tied].sort(dim=1, descending=True, stable=True).indices
        columns[tied] = order[:, :k]
    return columns


def by_similarity(
    similarities: Float[Tensor, "block gallery"], columns: Int[Tensor, "block some"]
) -> Int[Tensor, "block some"]:
    """Some columns of each row, the most similar first, equal ones in the order of the columns.

    Args:
        similarities: Of each query with the gallery.
        columns: Ascending, padded at the end with `NO_ROW`, which stays there.
    """
    cosines = similarities.gather(1, columns.clamp(min=0))
    cosines = cosines.masked_fill(columns == NO_ROW, -torch.inf)
    return columns.gather(1, cosines.sort(dim=1, descending=True, stable=True).indices)


def padded(lists: Sequence[Int[np.ndarray, " _"]]) -> Int[Tensor, "queries most"]:
    """Lists of rows as one array as wide as the longest, padded with `NO_ROW`."""
    most = max((len(rows) for rows in lists), default=0)
    table = np.full((len(lists), most), NO_ROW, dtype=np.int64)
    for query, rows in enumerate(lists):
        table[query, : len(rows)] = rows
    return torch.from_numpy(table)


def _equal_before(
    similarities: Float[Tensor, "block gallery"],
    best: Float[Tensor, "block 1"],
    column: Int[Tensor, " block"],
    ranks: Int[Tensor, " block"],
) -> Int[Tensor, " block"]:
    """How many images as similar as the best target come before it in the gallery."""
    before = torch.zeros_like(ranks)
    last_rank = torch.count_nonzero(similarities >= best, dim=1)
    tied = torch.nonzero(last_rank > ranks).squeeze(1)
    if len(tied):
        columns = torch.arange(similarities.shape[1], device=similarities.device)
        equal = similarities[tied] == best[tied]
        before[tied] = torch.count_nonzero(equal & (columns < column[tied, None]), dim=1)
    return before


def _require_rankable(
    query_vectors: Float[np.ndarray, "queries dim"],
    gallery_vectors: Float[np.ndarray, "gallery gallery_dim"],
    targets: Sequence[Int[np.ndarray, " _"]],
    excluded: Int[np.ndarray, " _"],
    block_size: int,
) -> None:
    """Raises VectorError or UsageError unless `rank_targets` can rank these."""
    queries, gallery = len(query_vectors), len(gallery_vectors)
    if query_vectors.shape[1] != gallery_vectors.shape[1]:
        raise VectorError(
            f"`query_vectors` are {query_vectors.shape[1]}-d and `gallery_vectors` "
            f"{gallery_vectors.shape[1]}-d; expected vectors of one encoder"
        )
    for name, vectors in (("query_vectors", query_vectors), ("gallery_vectors", gallery_vectors)):
        wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if wrong.size:
            raise VectorError(f"`{name}`: row {wrong[0]} is not finite")
    if (len(targets), len(excluded)) != (queries, queries):
        raise UsageError(
            f"`targets` are of {len(targets)} queries and `excluded` of {len(excluded)}; "
            f"expected {queries}, one entry a query"
        )
    if block_size < 1:
        raise UsageError(f"`block_size` is {block_size}; expected at least 1")
    for query, (rows, row) in enumerate(zip(targets, excluded.tolist(), strict=True)):
        if not len(rows) or rows.min() < 0 or rows.max() >= gallery or row in rows:
            raise UsageError(
                f"`targets` of query {query} are rows {rows.tolist()}; expected at least one of "
                f"the {gallery} gallery rows, none of them excluded"
            )
        if not NO_ROW <= row < gallery:
            raise UsageError(
                f"`excluded` names row {row} for query {query}; expected a gallery row below "
                f"{gallery}, or {NO_ROW} for none"
            )
