"""Indexes that propose rows: an approximate one in memory, or one in a vector database.

An index decides nothing. What it proposes is compared in full with the query (`cir.search.scan`),
so that scores and the order of equal ones are those of a gallery without an index.
"""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64

SPARE: Final = 16
"""Rows that an index proposes beyond those asked for: it may order nearly equal ones otherwise."""


@dataclass(frozen=True, eq=False)
class Allowed:
    """The rows that may be results."""

    rows: Bool[np.ndarray, " rows"]
    category: str | None = None
    """The category that all of them are of; None where they are of any."""


@dataclass(frozen=True)
class Recall:
    """How much an index finds of what comparing every row finds, on a sample of queries."""

    found: float
    """The share of the `top` nearest rows, 0 to 1."""
    queries: int
    top: int

    @classmethod
    def unknown(cls) -> "Recall":
        """That of an index which is being measured."""
        return cls(0.0, 0, 0)

    def __str__(self) -> str:
        return (
            f"finds {self.found:.1%} of the {self.top} nearest, measured on {self.queries} queries"
        )


@runtime_checkable
class Proposing(Protocol):
    """An index over the rows that a gallery began with."""

    @property
    def name(self) -> str:
        """What it is and where, as a person reads it."""

    @property
    def recall(self) -> Recall:
        """What it finds."""

    def propose(
        self, query: Float32[np.ndarray, " dim"], k: int, allowed: Allowed
    ) -> Int64[np.ndarray, " proposed"]:
        """Rows among which the k nearest allowed ones are, or most of these.

        Rows that are not allowed may be among them. An index that gives fewer allowed rows than k
        is not believed: then all are compared.
        """
