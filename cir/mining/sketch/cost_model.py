"""How many axes a sketch keeps, and how many of them as two numbers: those that cost least.

A wider product costs more time, and leaves fewer pairs in doubt that are then compared exactly. The
choice has no influence on the result.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from cir.mining.sketch.principal_axes import PrincipalAxes, turning_error

_WIDTHS: Final = (16, 32, 64)
"""Widths that are tried, besides every multiple of the last."""
_SPLIT_AXES: Final = (0, 16, 32, 64)
_PAIR_COST: Final = {torch.int16: 10000, torch.bfloat16: 30000, torch.float32: 9000}
"""What comparing a pair exactly costs, in terms of the product."""
_LOSS: Final = {torch.int16: 1.6e-4, torch.bfloat16: 1.7e-3, torch.float32: 3e-8}
"""The part of a vector's length that rounding takes, about."""
_TURNING_COST: Final = {torch.int16: 2, torch.bfloat16: 4, torch.float32: 1}
"""What an operation of the rotation costs in operations of the product."""
SMALL_WORK: Final = 10_000_000
"""With fewer pairs, choosing a width costs more than it saves."""


class Width(NamedTuple):
    """The axes of a rotated vector that a sketch keeps."""

    axes: int
    split_axes: int = 0
    """The first of them, kept as two numbers each."""


def cheapest_width(
    axes: PrincipalAxes,
    queries: Float32[np.ndarray, "tried dim"],
    gallery: Float32[np.ndarray, "sample dim"],
    to_decisions: Float32[np.ndarray, "tried sample"],
    dtype: torch.dtype,
    query_count: int,
    gallery_count: int,
    small_work: int = SMALL_WORK,
) -> Width:
    """The width at which product, rotation and pairs to be compared exactly cost least.

    Args:
        axes: The principal axes.
        queries: Some queries, centred.
        gallery: Some gallery vectors, centred.
        to_decisions: How far their similarities are from the nearest decision.
        dtype: The product's arithmetic.
        query_count: How many queries there are.
        gallery_count: How many gallery vectors there are.
        small_work: With fewer pairs than these, all axes are kept.
    """
    dim = queries.shape[1]
    if query_count * gallery_count < small_work:
        return Width(dim)
    squares, others = (_cumulated(each, axes) for each in (queries, gallery))
    turning = dim * _TURNING_COST[dtype] * (1 / query_count + 1 / gallery_count)
    costs = {Width(dim): dim + _doubted(Width(dim), 0.0, squares, others, to_decisions, dtype)}
    for width in _tried(min(dim, axes.columns.shape[1] + 1), dtype):
        product = width.axes * (1 + turning) + 2 * width.split_axes
        error = turning_error(dim, width.axes)
        costs[width] = product + _doubted(width, error, squares, others, to_decisions, dtype)
    return min(costs, key=lambda width: costs[width])


def _cumulated(
    vectors: Float32[np.ndarray, "rows dim"], axes: PrincipalAxes
) -> Float32[np.ndarray, "rows kept_and_whole"]:
    """The squared length along the first axis, the first two and so on, and that of the whole."""
    along = np.square(vectors @ axes.columns).cumsum(axis=1)
    return np.column_stack([along, np.square(vectors).sum(axis=1)])


def _tried(end: int, dtype: torch.dtype) -> Iterator[Width]:
    """The widths below `end`."""
    for axes in (*_WIDTHS, *range(2 * _WIDTHS[-1], end, _WIDTHS[-1])):
        for split in _SPLIT_AXES if dtype == torch.bfloat16 else (0,):
            if split <= axes < end:
                yield Width(axes, split)


def _doubted(
    width: Width,
    turning: float,
    queries: Float32[np.ndarray, "tried kept_and_whole"],
    gallery: Float32[np.ndarray, "sample kept_and_whole"],
    to_decisions: Float32[np.ndarray, "tried sample"],
    dtype: torch.dtype,
) -> float:
    """The cost of pairs in doubt, spread over all.

    Args:
        width: The axes that are kept.
        turning: The error of coordinates along them.
        queries: Squared lengths of some queries, as `_cumulated` gives them.
        gallery: Those of some gallery vectors.
        to_decisions: How far their similarities are from the nearest decision.
        dtype: The product's arithmetic.
    """
    cut = np.outer(_between(queries, width.axes), _between(gallery, width.axes))
    kept = [np.sqrt(_until(each, width.axes)) for each in (queries, gallery)]
    lost = [
        _LOSS[dtype] * _between(each, width.split_axes, width.axes) + turning
        for each in (queries, gallery)
    ]
    rounded = np.outer(lost[0], kept[1]) + np.outer(kept[0], lost[1])
    return float((to_decisions <= cut + rounded).mean()) * _PAIR_COST[dtype]


def _between(
    squares: Float32[np.ndarray, "rows kept_and_whole"], start: int, end: int | None = None
) -> Float32[np.ndarray, " rows"]:
    """The length along the axes from `start` on, from squares cumulated along them."""
    whole = squares[:, -1] if end is None else _until(squares, end)
    lengths: Float32[np.ndarray, " rows"] = np.sqrt(np.maximum(whole - _until(squares, start), 0))
    return lengths


def _until(
    squares: Float32[np.ndarray, "rows kept_and_whole"], axes: int
) -> Float32[np.ndarray, " rows"]:
    """The squared length along the first axes; the whole one along more than are known."""
    if not axes:
        return np.zeros(len(squares), np.float32)
    return squares[:, min(axes, squares.shape[1]) - 1]
