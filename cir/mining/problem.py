"""The input and the output of mining, as plain arrays without files or ids.

A `Problem` goes into the engine with a `cir.mining.plan.Plan`, and a `Mined` comes out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, Int64

from cir import arguments
from cir.errors import UsageError, VectorError
from cir.ragged import Ragged
from cir.types import NO_ROW, Band, Scope

_SAMPLE: Final = 1024
"""Vectors of each table whose lengths are checked: not all, so that no file is read in full."""

_UNIT_ERROR: Final = 1e-3
"""How far the length of a unit vector may be from 1."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Unit vectors, and which of them may not be paired."""

    queries: Float32[np.ndarray, "queries dim"]
    targets: Float32[np.ndarray, "targets dim"]
    """The target of each query, which need not be in the gallery; with `target_rows`, any table
    that holds the targets."""
    gallery: Float32[np.ndarray, "gallery dim"]
    """All of it, or a shard where several processes hold one each. Unit vectors in a file may be
    mapped into memory, `np.load(path, mmap_mode="r")`: they are read a few thousand at a time."""
    exclusions: Ragged
    """For each query, the rows of `gallery` that may not become its negatives, ascending and each
    once, as `cir.mining.exclusions.excluded.exclusions_of` orders them; in a shard, too, they are
    counted from 0."""
    categories: Int64[np.ndarray, " queries"] | None = None
    """The row of `members` for each query's category; needed for scopes other than `any`."""
    members: Bool[np.ndarray, "categories gallery"] | None = None
    """Which gallery rows are of each category; a row may be of several."""
    first_row: int = 0
    """The row of the whole gallery that the shard begins at."""
    target_rows: Int64[np.ndarray, " queries"] | None = None
    """The row of `targets` for each query; by default the query's own."""

    def __post_init__(self) -> None:
        for name in ("queries", "targets", "gallery"):
            _require_unit(name, getattr(self, name))
        self._require_dimensions()
        self._require_exclusions()
        self._require_categories()
        arguments.integer("first_row", self.first_row, 0)

    @property
    def rows_of_targets(self) -> Int64[np.ndarray, " queries"]:
        """The row of `targets` for each query."""
        return np.arange(len(self.queries)) if self.target_rows is None else self.target_rows

    def _require_dimensions(self) -> None:
        dims = {table.shape[1] for table in (self.queries, self.targets, self.gallery)}
        if len(dims) > 1:
            raise VectorError(
                f"`queries`, `targets` and `gallery` are of {sorted(dims)} dimensions; expected one"
            )
        if self.target_rows is not None:
            self._require_rows_of_targets(self.target_rows)
        elif len(self.queries) != len(self.targets):
            raise VectorError(
                f"{len(self.queries)} `queries` have {len(self.targets)} `targets`; "
                f"expected one a query"
            )

    def _require_rows_of_targets(self, rows: Int64[np.ndarray, " queries"]) -> None:
        arguments.array("target_rows", rows, np.int64, 1)
        if len(rows) != len(self.queries):
            raise UsageError(
                f"`target_rows` are of {len(rows)} queries; expected {len(self.queries)}"
            )
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.targets):
            raise UsageError(
                f"`target_rows` are not all rows of `targets`, which holds {len(self.targets)}"
            )

    def _require_exclusions(self) -> None:
        arguments.instance("exclusions", self.exclusions, Ragged)
        if len(self.exclusions) != len(self.queries):
            raise UsageError(
                f"`exclusions` are of {len(self.exclusions)} queries; expected {len(self.queries)}"
            )
        rows, gallery = self.exclusions.rows, len(self.gallery)
        if rows.size and not 0 <= rows.min() <= rows.max() < gallery:
            wrong = rows[(rows < 0) | (rows >= gallery)][0]
            raise UsageError(
                f"`exclusions` name row {wrong}; expected rows of a gallery of {gallery}"
            )
        self._require_ascending()

    def _require_ascending(self) -> None:
        """The scan meets exclusions row by row: one that stands out of order would be missed."""
        owners, rows = self.exclusions.pairs()
        falls = np.flatnonzero((owners[1:] == owners[:-1]) & (rows[1:] <= rows[:-1]))
        if falls.size:
            raise UsageError(
                f"`exclusions` of query {owners[falls[0]]} name row {rows[falls[0] + 1]} behind "
                f"row {rows[falls[0]]}; expected ascending rows, each once: pass "
                f"`exclusions_of(rows)`"
            )

    def _require_categories(self) -> None:
        if self.categories is None or self.members is None:
            if self.categories is not self.members:
                raise UsageError("`categories` and `members` go together: pass both or neither")
            return
        arguments.array("categories", self.categories, np.int64, 1)
        arguments.array("members", self.members, np.bool_, 2)
        shape = len(self.categories), self.members.shape[1]
        if shape != (len(self.queries), len(self.gallery)):
            raise UsageError(
                f"`categories` and `members` are of {shape[0]} queries and {shape[1]} gallery "
                f"rows; expected {len(self.queries)} and {len(self.gallery)}"
            )
        known, codes = len(self.members), self.categories
        if codes.size and not 0 <= codes.min() <= codes.max() < known:
            raise UsageError(f"`categories` are not all rows of `members`, which holds {known}")


@dataclass(frozen=True)
class CandidatePool:
    """The candidates kept for a draw or a fill: of which scope and band, and which come first."""

    scope: Scope
    band: Band
    priority: int
    """`NEAREST`, `UNIFORM` or `SOFTMAX` of `cir.mining.scan.sampling_keys`."""
    draw_index: int
    """Makes the random numbers of one draw differ from those of another."""


@dataclass(frozen=True)
class FilterCounts:
    """Valid candidates that each filter of a plan excluded, over all queries."""

    relative_margin: int = 0
    max_similarity: int = 0
    ranks: int = 0


@dataclass(frozen=True, eq=False)
class Mined:
    """The negatives of each query, nearest first; row i of each field is query i."""

    rows: Int64[np.ndarray, "queries negatives"]
    """Gallery rows; `NO_ROW` behind the last negative of a query that got fewer."""
    distances: Float32[np.ndarray, "queries negatives"]
    kinds: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.KINDS`."""
    scopes: Int8[np.ndarray, "queries negatives"]
    """Positions in `cir.types.SCOPES`: where each was drawn from."""
    target_distances: Float32[np.ndarray, " queries"]
    target_ranks: Int32[np.ndarray, " queries"]
    """1 + the number of valid candidates nearer than the target."""
    candidates_in_band: Int32[np.ndarray, " queries"]
    """Eligible candidates that any of the draws could have given."""
    starved: Bool[np.ndarray, " queries"]
    """Whether the draws gave the query fewer negatives than the plan asks for."""
    excluded: FilterCounts

    @property
    def counts(self) -> Int64[np.ndarray, " queries"]:
        """Negatives of each query."""
        counts: Int64[np.ndarray, " queries"] = (self.rows != NO_ROW).sum(axis=1)
        return counts


def _require_unit(name: str, table: Float32[np.ndarray, "rows dim"]) -> None:
    """Requires float32 vectors of length 1; the lengths are those of a sample."""
    arguments.array(name, table, np.float32, 2)
    step = max(1, len(table) // _SAMPLE)
    lengths = np.linalg.norm(table[::step], axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_ERROR))
    if wrong.size and table.shape[1]:
        raise VectorError(
            f"row {wrong[0] * step} of `{name}` has length {lengths[wrong[0]]:g}; expected unit "
            f"vectors: divide each by its length"
        )
