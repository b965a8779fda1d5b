"""Similarities by a cheap matrix product, with a proven bound of how far they are off.

Queries x and gallery vectors y are centred about their means μ, rotated to their principal axes,
cut to the first few of those and rounded. With P the rotation, [.] the rounding and t the part that
is cut off,

    x·y = [Px]·[Py] + x·μ_y + μ_x·(y − μ_y) + error,
    |error| ≤ |Px − [Px]| |Py| + |[Px]| |Py − [Py]| + |t_x| |t_y| + roundings of the sum

by the Cauchy-Schwarz inequality. The lengths are measured, not assumed. The middle terms are
columns of the product, and so is a zero for each query: a rounded result is finest near it, so it
lies where decisions are taken. Embeddings crowd about their mean and along few axes, which makes
all three terms small; vectors without such structure are cut nowhere.

bfloat16 halves the product's time on processors and GPUs that have it; sums are of float32.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Shaped
from torch import Tensor

from cir.mining.scan import Sketched
from cir.mining.similarity import product_error

_SAMPLE: Final = 2048
"""Rows that means and axes are fitted to."""
_AT_ONCE: Final = 512
"""Rows that are rotated together."""
_TRIED: Final = 64
"""Queries that the width is chosen by."""
_STEP: Final = 64
"""Widths are tried in steps of this."""
_PAIR_COST: Final = {torch.bfloat16: 15000, torch.float32: 7000}
"""What comparing a pair in full costs, in terms of the product."""
_LOSS: Final = {torch.bfloat16: 1.7e-3, torch.float32: 3e-8}
"""What rounding takes of a vector's length, about: for the choice of the width alone."""
_SPLITS: Final = {torch.bfloat16: 3, torch.float32: 1}
"""Numbers that together hold a float32."""
_INTEGERS: Final = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_SMALL: Final = 10_000_000
"""Pairs, fewer than which are worth no thought about the width."""
_DOUBLE_COST: Final = 6
"""What an operation of the rotation, in float64, costs in operations of the product."""
_MEASURING: Final = 1e-7
"""Above the rounding of a length measured in float64."""


@dataclass(frozen=True, eq=False)
class Side:
    """Vectors cut and rounded, and how much of each was lost."""

    columns: Shaped[Tensor, "rows width"]
    length: Float64[np.ndarray, " rows"]
    """|Px| and |[Px]| are at most this."""
    rounded: Float64[np.ndarray, " rows"]
    """|Px − [Px]|."""
    cut: Float64[np.ndarray, " rows"]
    """|t|."""
    constant: Float64[np.ndarray, " rows"]
    """The size of the columns beside [Px]."""

    @property
    def lengths(self) -> tuple[Float64[np.ndarray, " rows"], ...]:
        """All but the columns."""
        return self.length, self.rounded, self.cut, self.constant

    def block(self, rows: slice) -> "Side":
        """A view of some of the rows."""
        return Side(self.columns[rows], *(values[rows] for values in self.lengths))

    def take(self, rows: Int64[np.ndarray, " chosen"]) -> "Side":
        """Some of the rows, in their order."""
        columns = self.columns[torch.from_numpy(rows).to(self.columns.device)]
        return Side(columns, *(values[rows] for values in self.lengths))


def joined(sides: Sequence[Side]) -> Side:
    """The rows of all of them."""
    lengths = zip(*(side.lengths for side in sides), strict=True)
    return Side(
        torch.cat([side.columns for side in sides]), *(np.concatenate(own) for own in lengths)
    )


class Sketch:
    """Sketches similarities of one set of queries with any rows of a gallery."""

    def __init__(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        gallery: Float32[np.ndarray, "gallery dim"],
        borders: Float32[np.ndarray, "queries borders"],
        number: torch.dtype,
        device: torch.device,
        width: int | None = None,
    ) -> None:
        """Fits the sketch.

        Args:
            queries: Unit vectors.
            gallery: Unit vectors, of which a sample is looked at.
            borders: Similarities about which decisions are taken; the zero lies at the last.
            number: torch.bfloat16 or torch.float32.
            device: Where products are made.
            width: Axes to keep; by default what costs least, together with the pairs that will have
                to be compared in full.
        """
        self.number, self._device = number, device
        self.zeros = borders[:, -1].astype(np.float64)
        sample = _spread(gallery, _SAMPLE).astype(np.float64)
        asked = _spread(queries, _SAMPLE).astype(np.float64)
        self._gallery_mean, self._query_mean = sample.mean(axis=0), asked.mean(axis=0)
        axes = _Axes(_single(asked - self._query_mean), _single(sample - self._gallery_mean))
        if width is None:
            tried, sides = (_spread(_spread(x, _SAMPLE), _TRIED) for x in (queries, borders))
            similar = tried @ _spread(gallery, _SAMPLE).T
            close = np.abs(similar[:, :, None] - sides[:, None, :]).min(axis=2)
            width = axes.cheapest(close, number, len(queries), len(gallery))
        self._axes = axes.first(width)
        self.queries = self._sides(
            queries, self._query_mean, self._gallery_mean, -self.zeros, first=True
        )

    def tile(self, vectors: Float32[np.ndarray, "rows dim"]) -> Side:
        """The gallery side of some rows."""
        nothing = -float(self._query_mean @ self._gallery_mean)
        shift = np.full(len(vectors), nothing)
        return self._sides(vectors, self._gallery_mean, self._query_mean, shift, first=False)

    def errors(self, queries: Side, tile: Side) -> Float64[np.ndarray, " queries"]:
        """How far `multiply` may be off for each query, less its zero, at most."""
        reach, rest = tile.length.max(), tile.rounded.max()
        summed = queries.length * reach + queries.constant + tile.constant.max() + 1
        return np.asarray(
            queries.rounded * reach
            + queries.length * rest
            + queries.cut * tile.cut.max()
            + summed * product_error(tile.columns.shape[1])
        )

    def doubt(self, tile: Side) -> Float64[np.ndarray, " rows"]:
        """How far the similarity of each row with a mean query may be off."""
        queries = self.queries
        return np.asarray(
            queries.rounded.mean() * tile.length
            + queries.length.mean() * tile.rounded
            + queries.cut.mean() * tile.cut
        )

    def multiply(self, block: slice, tile: Side, out: Shaped[Tensor, "queries rows"]) -> Sketched:
        """Similarities of a block of queries with a tile, less the zero of each query.

        Args:
            block: Which of the queries.
            tile: Of `tile`.
            out: CPU memory of `number`, which is overwritten.
        """
        queries = self.queries.block(block)
        if self._device.type != "cpu":
            out.copy_(queries.columns @ tile.columns.T)
        elif self.number == torch.float32:
            # NumPy's BLAS was measured faster than torch's here.
            np.matmul(queries.columns.numpy(), tile.columns.numpy().T, out=out.numpy())
        else:
            torch.mm(queries.columns, tile.columns.T, out=out)
        bits = out.view(_INTEGERS[self.number]).numpy()
        shift = 32 - 8 * bits.itemsize
        return Sketched(bits, shift, self.zeros[block], self.errors(queries, tile))

    def _sides(
        self,
        vectors: Float32[np.ndarray, "rows dim"],
        mean: Float64[np.ndarray, " dim"],
        other_mean: Float64[np.ndarray, " dim"],
        shift: Float64[np.ndarray, " rows"],
        *,
        first: bool,
    ) -> Side:
        """`_side` of all rows, a few at a time, since each is float64 for a while."""
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(vectors), _AT_ONCE)]
        return joined(
            [self._side(vectors[p], mean, other_mean, shift[p], first=first) for p in parts]
        )

    def _side(
        self,
        vectors: Float32[np.ndarray, "rows dim"],
        mean: Float64[np.ndarray, " dim"],
        other_mean: Float64[np.ndarray, " dim"],
        shift: Float64[np.ndarray, " rows"],
        *,
        first: bool,
    ) -> Side:
        """Centred, rotated, cut and rounded, `vectors · other_mean + shift` among the columns."""
        given = torch.from_numpy(vectors).to(self._device)
        means = torch.from_numpy(np.stack([mean, other_mean], axis=1)).to(self._device)
        exact, centre = given.double(), means[:, 0]
        if self._axes is None:
            constant = exact @ means[:, 1]
            head = exact - centre
            length = torch.linalg.vector_norm(head, dim=1)
            cut = torch.zeros_like(length)
        else:
            axes = self._axes.to(self._device)
            turned = exact @ torch.cat([axes, means], dim=1)
            along, constant = turned[:, -2:].unbind(dim=1)
            head = turned[:, :-2] - centre @ axes
            length = torch.linalg.vector_norm(head, dim=1)
            size = torch.linalg.vector_norm(given, dim=1, dtype=torch.float64)
            whole = size.square() - 2 * along + centre.square().sum()
            cut = (whole - length.square()).clamp(min=0).sqrt() + _MEASURING
        constant = constant + torch.from_numpy(shift).to(self._device)
        kept = head.to(self.number)
        rounded = torch.linalg.vector_norm(head - kept.double(), dim=1) + _MEASURING
        parts = _split(constant, self.number)
        ones = torch.ones_like(parts)
        columns = torch.cat([kept, *((parts, ones) if first else (ones, parts))], dim=1)
        lengths = (length + rounded, rounded, cut, constant.abs())
        return Side(columns.contiguous(), *(values.cpu().numpy() for values in lengths))


class _Axes:
    """Principal axes of centred samples of queries and gallery together."""

    def __init__(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        gallery: Float32[np.ndarray, "gallery dim"],
    ) -> None:
        self._queries, self._gallery = queries, gallery

    @cached_property
    def _all(self) -> Float32[np.ndarray, "dim dim"]:
        """Columns, those of most variance first; orthonormal within single precision."""
        moments = sum(x.T @ x / len(x) for x in (self._queries, self._gallery))
        _, vectors = torch.linalg.eigh(torch.from_numpy(moments))
        return np.ascontiguousarray(vectors.numpy()[:, ::-1])

    def first(self, width: int) -> Float64[Tensor, "dim width"] | None:
        """The first axes, orthonormal within double precision, or None where none is cut."""
        if width >= self._queries.shape[1]:
            return None
        axes = torch.from_numpy(self._all[:, :width]).double()
        # A step of Newton and Schulz squares what single precision left of A'A - I.
        orthonormal: Tensor = 1.5 * axes - 0.5 * axes @ (axes.T @ axes)
        return orthonormal

    def cheapest(
        self,
        close: Float32[np.ndarray, "tried gallery"],
        number: torch.dtype,
        queries: int,
        gallery: int,
    ) -> int:
        """The width that costs least, of product, rotation and pairs to be compared in full.

        Args:
            close: How far the similarities of some queries are from their nearest border.
            number: The product's arithmetic.
            queries: How many there are.
            gallery: How many rows it has.
        """
        dim = int(self._queries.shape[1])
        if queries * gallery < _SMALL:
            return dim
        asked = np.square(_spread(self._queries, _TRIED) @ self._all).cumsum(axis=1)
        shown = np.square(self._gallery @ self._all).cumsum(axis=1)
        turning = 1 + dim * _DOUBLE_COST * (1 / queries + 1 / gallery)
        costs = {dim: dim + _doubted(dim, asked, shown, close, number)}
        for width in range(_STEP, dim, _STEP):
            costs[width] = width * turning + _doubted(width, asked, shown, close, number)
        return min(costs, key=lambda width: costs[width])


def _doubted(
    width: int,
    asked: Float32[np.ndarray, "tried dim"],
    shown: Float32[np.ndarray, "gallery dim"],
    close: Float32[np.ndarray, "tried gallery"],
    number: torch.dtype,
) -> float:
    """What pairs in doubt cost, spread over all; squares are cumulated along the axes."""
    cut = np.outer(_rest(asked, width), _rest(shown, width))
    kept = np.sqrt(np.outer(asked[:, width - 1], shown[:, width - 1]))
    doubtful = (close <= cut + 2 * _LOSS[number] * kept).mean()
    return float(doubtful) * _PAIR_COST[number]


def _rest(squares: Float32[np.ndarray, "rows dim"], width: int) -> Float32[np.ndarray, " rows"]:
    """The length beyond the first axes, from squares cumulated along them."""
    beyond = np.maximum(squares[:, -1] - squares[:, width - 1], 0)
    lengths: Float32[np.ndarray, " rows"] = np.sqrt(beyond)
    return lengths


def _single(values: Float64[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
    single: Float32[np.ndarray, "rows dim"] = values.astype(np.float32)
    return single


def _spread(rows: Float32[np.ndarray, "rows dim"], count: int) -> Float32[np.ndarray, "some dim"]:
    """About `count` rows, evenly spaced."""
    return rows[:: -(-len(rows) // count)]


def _split(values: Float64[Tensor, " rows"], number: torch.dtype) -> Tensor:
    """Columns of `number` that add up to `values` within float32's rounding."""
    parts = []
    for _ in range(_SPLITS[number]):
        parts.append(values.to(number))
        values = values - parts[-1].double()
    return torch.stack(parts, dim=1)


@cache
def quickest_number(device: torch.device) -> torch.dtype:
    """The arithmetic in which `device` multiplies faster: bfloat16 or float32.

    On the CPU both are tried for a moment: either gives the same answers.
    """
    if device.type != "cpu":
        return torch.bfloat16
    left, right = torch.ones(256, 512), torch.ones(1024, 512)
    seconds = {
        torch.float32: _seconds(lambda: np.matmul(left.numpy(), right.numpy().T)),
        torch.bfloat16: _seconds(lambda: left.bfloat16() @ right.bfloat16().T),
    }
    return min(seconds, key=lambda number: seconds[number])


def _seconds(work: Callable[[], object]) -> float:
    """The least of a few runs."""
    work()
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
