"""Histograms as text: bars of block characters on one scale."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from cir.reporting.pages import PageTable

_EIGHTHS: Final = ("", *"▏▎▍▌▋▊▉")
"""Ends of bars, by the eighths of a character that they fill."""
WIDE, NARROW = 17, 9
"""Characters of the longest bar: two wide ones, with their figures, fit 80 columns; two narrow
ones leave room for two columns more."""
_BINS: Final = 16
_STEPS: Final = (1, 2, 5)
_LEAST_WIDTH: Final = 1e-3
"""Width of the narrowest bin: smaller differences of a cosine mean nothing."""
_ROUNDING: Final = 1e-6


def text_histogram(
    title: str, x_label: str, samples: Mapping[str, Float[np.ndarray, " _"]], *, signed: bool
) -> PageTable:
    """The share of each sample in each bin, the samples side by side.

    Args:
        title: The table's heading.
        x_label: The samples' name and unit.
        samples: Samples by name, none of them empty.
        signed: Whether values are changes, whose sign is always written.
    """
    edges = round_edges(np.concatenate(list(samples.values())))
    shares = [np.histogram(sample, edges)[0] / len(sample) for sample in samples.values()]
    return bar_table(title, (x_label, *samples), bin_names(edges, signed=signed), shares)


def bar_table(
    title: str,
    columns: Sequence[str],
    names: Sequence[str],
    shares: Sequence[Float[np.ndarray, " bins"]],
    width: int = WIDE,
) -> PageTable:
    """Shares as bars with their percentages, a row a name; the longest of all fills its width."""
    scale = max(float(column.max()) for column in shares) or 1.0
    cells = [[f"{_bar(s / scale, width)} {100 * s:5.1f} %" for s in column] for column in shares]
    return PageTable(title, columns, list(zip(names, *cells, strict=True)))


def round_edges(values: Float[np.ndarray, " values"]) -> Float64[np.ndarray, " edges"]:
    """Bounds of at most 16 equal bins around the values, at multiples of a round width.

    The width is 1, 2 or 5 times a power of ten: the least one that suffices.
    """
    low, high = float(values.min()), float(values.max())
    power = math.floor(math.log10(max((high - low) / _BINS, _LEAST_WIDTH)) + _ROUNDING)
    widths = (step * 10.0**p for p in (power, power + 1) for step in _STEPS)
    bounds = ((math.floor(low / w), math.floor(high / w) + 1, w) for w in widths)
    first, last, width = next(b for b in bounds if b[1] - b[0] <= _BINS)
    return np.arange(first, last + 1) * width


def bin_names(edges: Float64[np.ndarray, " edges"], *, signed: bool) -> list[str]:
    """`low to high` of each bin, with as many digits as tell the bounds apart."""
    digits = max(2, -math.floor(math.log10(edges[1] - edges[0]) + _ROUNDING))
    texts = [f"{edge + 0.0:{'+' if signed else ''}.{digits}f}" for edge in edges]
    return [f"{low} to {high}" for low, high in pairwise(texts)]


def _bar(share: float, width: int) -> str:
    """A bar of `share` of the full width, padded to it with spaces."""
    whole, eighths = divmod(round(float(share) * width * 8), 8)
    return f"{'█' * whole}{_EIGHTHS[eighths]}".ljust(width)
