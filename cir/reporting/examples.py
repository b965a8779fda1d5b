"""A few queries with what they retrieved before and after training, drawn at random.

Every held-out query has one of four outcomes, by whether its target stood among the first five
before and after. From each outcome a fixed number is drawn at random with a fixed seed, and the
page says how many there are of each: a reader sees failures beside successes, and how common each
is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from cir.data.queries import Query
from cir.evaluation.ranks import CategoryRanks, Ranks

Outcome = Literal["gained", "kept", "lost", "missed"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

SHOWN_IMAGES: Final = 5
"""Images shown of a ranking; a target among them is a success."""

DRAWN: Final[Mapping[Outcome, int]] = {"gained": 3, "kept": 2, "lost": 1, "missed": 2}
"""Queries drawn from each outcome, or all where there are fewer."""


@dataclass(frozen=True)
class Ranking:
    """What one query retrieved."""

    rank: int
    """Of its best target; 1 is first."""
    first: tuple[str, ...]
    """Ids of the images that stand first."""


@dataclass(frozen=True)
class QueryExample:
    """One query before and after training."""

    query: Query
    outcome: Outcome
    before: Ranking
    after: Ranking


@dataclass(frozen=True)
class Examples:
    """The drawn queries, and how many have each outcome."""

    counts: Mapping[Outcome, int]
    shown: tuple[QueryExample, ...]


def draw_examples(before: Ranks, after: Ranks, *, seed: int) -> Examples:
    """Draws some queries of each outcome.

    Args:
        before: Of the queries before training, judged with `SHOWN_IMAGES` listed or more.
        after: Of the same queries after it, by the same evaluator.
        seed: Of the draw.
    """
    every = [
        example
        for first, second in zip(before.categories, after.categories, strict=True)
        for example in _examples(first, second)
    ]
    groups = {outcome: [e for e in every if e.outcome == outcome] for outcome in OUTCOMES}
    shown: list[QueryExample] = []
    for number, (outcome, members) in enumerate(groups.items()):
        rows = np.random.default_rng([seed, number]).permutation(len(members))[: DRAWN[outcome]]
        shown += [members[row] for row in sorted(rows)]
    return Examples({outcome: len(members) for outcome, members in groups.items()}, tuple(shown))


def _examples(before: CategoryRanks, after: CategoryRanks) -> list[QueryExample]:
    """Every query of a category."""
    rankings = zip(before.task.queries, _rankings(before), _rankings(after), strict=True)
    return [QueryExample(query, _outcome(*both), *both) for query, *both in rankings]


def _rankings(category: CategoryRanks) -> list[Ranking]:
    """The ranking of every query, its captions in the first order."""
    nearest = category.listed().nearest[0, :, :SHOWN_IMAGES]
    return [
        Ranking(rank, tuple(category.image_ids(columns)))
        for rank, columns in zip(category.ranks[0].tolist(), nearest.tolist(), strict=True)
    ]


def _outcome(before: Ranking, after: Ranking) -> Outcome:
    hit_before, hit_after = before.rank <= SHOWN_IMAGES, after.rank <= SHOWN_IMAGES
    if hit_before:
        return "kept" if hit_after else "lost"
    return "gained" if hit_after else "missed"
