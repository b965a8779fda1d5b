"""Vectors as 16-bit integers, and their product: exact sums at twice the speed of float32.

Each vector x is scaled to fill the range and rounded, X = [s x]. All sums of products are exact in
32 bits, since |X·Y| ≤ |X| |Y| < 2^31 by the Cauchy-Schwarz inequality, whatever is rounded:

    x·y = X·Y / (s_x s_y) + error,   |error| ≤ |x − X / s_x| |y| + |X / s_x| |y − Y / s_y|
"""

import math
from typing import Final, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int16
from torch import Tensor

from cir.mining.numerics.cosine import ROUNDING
from cir.mining.numerics.integer_products import (
    COLUMNS,
    ROWS,
    write_codes_of_row,
    write_codes_of_rows,
)
from cir.mining.numerics.jit import compiled

_LARGEST: Final = 2**15 - 1
_LONGEST: Final = math.sqrt(2**31 - 1)
_TOGETHER: Final = 20 * ROWS
"""Rows that meet all panels before others do: few enough for the processor's second cache."""
_ROUNDINGS: Final = 8
"""Roundings of float32 from an integer sum to its similarity, and of their factors; a margin."""


class Filled(NamedTuple):
    """Vectors scaled and rounded to 16-bit integers."""

    columns: Int16[Tensor, "rows width"]
    """X, with a column of zeros behind where the width would be odd."""
    unit: Float64[Tensor, " rows"]
    """1 / s."""
    rounded: Float64[Tensor, " rows"]
    """|x − X / s| is at most this."""


def filled(vectors: Float[Tensor, "rows dim"]) -> Filled:
    """Scales vectors so that they fill 16 bits, and no product of two of them exceeds 32."""
    longest = _LONGEST - math.sqrt(vectors.shape[1]) / 2 - 1
    most, lengths = vectors.abs().amax(dim=1), torch.linalg.vector_norm(vectors, dim=1)
    scale = torch.minimum(_LARGEST / most, longest / lengths).nan_to_num(1, 1, 1)
    scaled = vectors * scale[:, None]
    kept = scaled.round()
    lost = torch.linalg.vector_norm(scaled.sub_(kept), dim=1, dtype=torch.float64)
    unit = 1 / scale.double()
    columns = torch.zeros(len(vectors), vectors.shape[1] + vectors.shape[1] % 2, dtype=torch.int16)
    columns[:, : vectors.shape[1]] = kept
    return Filled(columns, unit, lost * unit + lengths.double() * 2 * ROUNDING)


def panels_of(
    columns: Int16[np.ndarray, "rows width"],
) -> Int16[np.ndarray, "panels pairs lines two"]:
    """Integers as `multiply` reads them: a pair of each of `COLUMNS` rows, then the next pairs."""
    rows, width = columns.shape
    # torch's memory begins where vectors of the processor do, NumPy's need not.
    panels = torch.zeros(-(-rows // COLUMNS), width // 2, COLUMNS, 2, dtype=torch.int16).numpy()
    _lay_out(columns, panels)
    return panels


class Scaling(NamedTuple):
    """What turns sums into codes that count steps of each query's similarities."""

    query_factors: Float32[np.ndarray, "queries three"]
    """1 / s, 1, and what is added for the query; all in its steps."""
    panel_factors: Float32[np.ndarray, "panels two lines"]
    """1 / s of each row, and what is added for it."""


def scaling(
    query_units: Float64[np.ndarray, " queries"],
    query_constants: Float64[np.ndarray, " queries"],
    steps: Float64[np.ndarray, " queries"],
    row_units: Float64[np.ndarray, " rows"],
    row_constants: Float64[np.ndarray, " rows"],
) -> Scaling:
    """The scaling of queries and rows, for codes that count `steps`."""
    factors = np.stack([query_units / steps, 1 / steps, query_constants / steps], axis=1)
    padding = -len(row_units) % COLUMNS
    of_rows = [np.pad(values, (0, padding)) for values in (row_units, row_constants)]
    by_panel = np.stack(of_rows).reshape(2, -1, COLUMNS).transpose(1, 0, 2)
    return Scaling(factors.astype(np.float32), by_panel.astype(np.float32, order="C"))


def scaling_error(magnitudes: Float64[np.ndarray, " queries"]) -> Float64[np.ndarray, " queries"]:
    """How far `multiply` may be off, beside the rounding of vectors and by a step.

    Args:
        magnitudes: What no similarity of a query, nor any part of it, exceeds.
    """
    return magnitudes * (_ROUNDINGS * ROUNDING)


def multiply(
    queries: Int16[np.ndarray, "queries width"],
    panels: Int16[np.ndarray, "panels pairs lines two"],
    scaling: Scaling,
    codes: Int16[np.ndarray, "queries rows"],
) -> None:
    """Writes the codes of the similarities of queries and rows.

    Args:
        queries: Columns of `filled`.
        panels: `panels_of` the columns of the rows.
        scaling: That of both, with steps in which no similarity exceeds 16 bits.
        codes: Memory, which is overwritten.
    """
    _multiply(queries, panels, *scaling, codes, np.empty((ROWS, COLUMNS), np.int16))


@compiled
@no_type_check
def _lay_out(columns, panels):
    for row in range(columns.shape[0]):
        panel, line = panels[row // COLUMNS], row % COLUMNS
        for pair in range(panel.shape[0]):
            panel[pair, line, 0] = columns[row, 2 * pair]
            panel[pair, line, 1] = columns[row, 2 * pair + 1]


@compiled
@no_type_check
def _multiply(queries, panels, query_factors, panel_factors, codes, edge):
    """Multiplies as many rows at once as fit; `edge` is scratch for a panel that is cut off."""
    count, whole = queries.shape[0], codes.shape[1] // COLUMNS
    for start in range(0, count, _TOGETHER):
        end = min(start + _TOGETHER, count)
        for number in range(panels.shape[0]):
            panel, factors, first = panels[number], panel_factors[number], number * COLUMNS
            query = start
            while query < end:
                rows = ROWS if query + ROWS <= end else 1
                written = codes[query:, first:] if number < whole else edge
                if rows == ROWS:
                    write_codes_of_rows(queries, query, panel, query_factors, factors, written)
                else:
                    write_codes_of_row(queries, query, panel, query_factors, factors, written)
                if number >= whole:
                    _copy(edge, rows, codes, query, first)
                query += rows


@compiled
@no_type_check
def _copy(edge, rows, codes, query, first):
    for row in range(rows):
        for column in range(first, codes.shape[1]):
            codes[query + row, column] = edge[row, column - first]
