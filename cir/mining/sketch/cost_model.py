"""How many axes a sketch keeps, and how many of them in twice the digits: what costs least.

A wider product costs more time, and leaves fewer pairs in doubt that are then compared in full. The
choice decides nothing about what is found.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from cir.mining.sketch.principal_axes import PrincipalAxes, turning_error

_WIDTHS: Final = (16, 32, 64)
"""Widths that are tried, and then every multiple of the last."""
_HEAVY: Final = (0, 16, 32, 64)
_PAIR_COST: Final = {torch.bfloat16: 30000, torch.float32: 9000}
"""What comparing a pair in full costs, in terms of the product."""
_LOSS: Final = {torch.bfloat16: 1.7e-3, torch.float32: 3e-8}
"""What rounding takes of a vector's length, about."""
_TURNING_COST: Final = {torch.bfloat16: 4, torch.float32: 1}
"""What an operation of the rotation costs in operations of the product."""
_SMALL: Final = 10_000_000
"""Pairs, fewer than which are worth no thought about the width."""


class Width(NamedTuple):
    """How much of a rotated vector is kept."""

    axes: int
    heavy: int = 0
    """The first of them, kept as two numbers each."""


def cheapest_width(
    axes: PrincipalAxes,
    asked: Float32[np.ndarray, "tried dim"],
    shown: Float32[np.ndarray, "sample dim"],
    close: Float32[np.ndarray, "tried sample"],
    number: torch.dtype,
    queries: int,
    gallery: int,
) -> Width:
    """The width that costs least, of product, rotation and pairs to be compared in full.

    Args:
        axes: The principal axes.
        asked: Some queries, centred.
        shown: Some gallery vectors, centred.
        close: How far their similarities are from the nearest at which a decision is taken.
        number: The product's arithmetic.
        queries: How many there are.
        gallery: How many rows it has.
    """
    dim = asked.shape[1]
    if queries * gallery < _SMALL:
        return Width(dim)
    squares, others = (np.square(each @ axes.every).cumsum(axis=1) for each in (asked, shown))
    turning = dim * _TURNING_COST[number] * (1 / queries + 1 / gallery)
    costs = {Width(dim): dim + _doubted(Width(dim), squares, others, close, number)}
    for width in _tried(dim, number):
        product = width.axes * (1 + turning) + 2 * width.heavy
        costs[width] = product + _doubted(width, squares, others, close, number)
    return min(costs, key=lambda width: costs[width])


def _tried(dim: int, number: torch.dtype) -> Iterator[Width]:
    for axes in (*_WIDTHS, *range(2 * _WIDTHS[-1], dim, _WIDTHS[-1])):
        for heavy in _HEAVY if number == torch.bfloat16 else (0,):
            if heavy <= axes < dim:
                yield Width(axes, heavy)


def _doubted(
    width: Width,
    asked: Float32[np.ndarray, "tried dim"],
    shown: Float32[np.ndarray, "sample dim"],
    close: Float32[np.ndarray, "tried sample"],
    number: torch.dtype,
) -> float:
    """What pairs in doubt cost, spread over all; squares are cumulated along the axes."""
    cut = np.outer(_between(asked, width.axes), _between(shown, width.axes))
    kept = [np.sqrt(each[:, width.axes - 1]) for each in (asked, shown)]
    lost = [_LOSS[number] * _between(each, width.heavy, width.axes) for each in (asked, shown)]
    if width.axes < asked.shape[1]:
        lost = [each + turning_error(asked.shape[1], width.axes) for each in lost]
    rounded = np.outer(lost[0], kept[1]) + np.outer(kept[0], lost[1])
    return float((close <= cut + rounded).mean()) * _PAIR_COST[number]


def _between(
    squares: Float32[np.ndarray, "rows dim"], start: int, end: int | None = None
) -> Float32[np.ndarray, " rows"]:
    """The length along the axes from `start` on, from squares cumulated along them."""
    before = squares[:, start - 1] if start else np.zeros(len(squares), np.float32)
    within = squares[:, -1 if end is None else end - 1] - before
    lengths: Float32[np.ndarray, " rows"] = np.sqrt(np.maximum(within, 0))
    return lengths
