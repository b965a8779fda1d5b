"""A pair of a reference and a new target, which becomes a query when somebody words it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CATALOG_SOURCE: Final = "attributes of the catalogue"
"""Who wrote the captions that cir makes of a catalogue."""


@dataclass(frozen=True)
class ProposedPair:
    """Two photos that shall make a query: mined, or chosen by whoever wants to."""

    reference_id: str
    target_id: str
    category: str = ""
    """Empty where whoever made the pair left it open."""
    captions: tuple[str, ...] = ()
    """What the target has and the reference lacks, in words; empty until somebody writes it."""
    target_ids: tuple[str, ...] = ()
    """Every photo that the captions fit, where more do than the target; empty otherwise."""
    source: str = ""
    """Who wrote the captions."""
    query_id: str = ""
    """The query that ranks the target high, wrongly; empty where the pair was not mined."""
    distance: float | None = None
    """Cosine distance of that query to this pair's target."""
    rank: int | None = None
    """Place of this pair's target, from 1, among the images of its category that are no target of
    the reference."""
    target_distance: float | None = None
    """Cosine distance of that query to its own target."""
    target_rank: int | None = None
    """Place of its own target among such images of all categories; 1 where none is nearer."""

    @property
    def every_target_id(self) -> tuple[str, ...]:
        """The target, and then the other photos that the captions fit."""
        return tuple(dict.fromkeys((self.target_id, *self.target_ids)))


@dataclass(frozen=True)
class LeftOutPair:
    """A pair that makes no query."""

    pair: ProposedPair
    reason: str


def by_reason(left_out: Iterable[LeftOutPair]) -> dict[str, list[str]]:
    """Reference and target of each pair that was left out, by the reason, in their order."""
    named: dict[str, list[str]] = {}
    for each in left_out:
        pair = f"{each.pair.reference_id} to {each.pair.target_id}"
        named.setdefault(each.reason, []).append(pair)
    return named
