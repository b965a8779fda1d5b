"""A few queries with what was retrieved before and after training, chosen without favour.

Every held-out query belongs to one of four outcomes, by whether its target stood among the first
five before and after. From each outcome a fixed number is drawn at random with a fixed seed, and
how many there are of each is told: a reader sees failures beside successes, and how common each is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import torch
from torch import nn

from cir.artefacts.store import Embeddings
from cir.data.dataset import Query
from cir.evaluation.protocol import RankingTask, texts_by_order
from cir.evaluation.ranking import compose_task

Outcome = Literal["gained", "kept", "lost", "missed"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

SHOWN_IMAGES: Final = 5
"""Images shown of a ranking; a target among them is a success."""

DRAWN: Final[Mapping[Outcome, int]] = {"gained": 3, "kept": 2, "lost": 1, "missed": 2}
"""Queries drawn from each outcome, or all where there are fewer."""


@dataclass(frozen=True, eq=False)
class Composer:
    """A way to compose queries, with the vectors it works on."""

    combiner: nn.Module
    embeddings: Embeddings


@dataclass(frozen=True)
class Ranking:
    """What one query retrieved."""

    rank: int
    """Of its best target; 1 is first."""
    first: tuple[str, ...]
    """Ids of the images that stand first."""


@dataclass(frozen=True)
class Example:
    """One query before and after training."""

    query: Query
    outcome: Outcome
    before: Ranking
    after: Ranking


@dataclass(frozen=True)
class Examples:
    """The drawn queries, and how many have each outcome."""

    counts: Mapping[Outcome, int]
    shown: tuple[Example, ...]


def draw_examples(
    tasks: Sequence[RankingTask],
    before: Composer,
    after: Composer,
    *,
    device: torch.device,
    seed: int,
) -> Examples:
    """Judges every query of `tasks` by both models and draws some of each outcome."""
    every = [
        Example(query, _outcome(was, now), was, now)
        for task in tasks
        for query, was, now in zip(
            task.queries,
            _rankings(task, before, device),
            _rankings(task, after, device),
            strict=True,
        )
    ]
    groups = {outcome: [e for e in every if e.outcome == outcome] for outcome in OUTCOMES}
    shown: list[Example] = []
    for number, (outcome, members) in enumerate(groups.items()):
        rows = np.random.default_rng([seed, number]).permutation(len(members))[: DRAWN[outcome]]
        shown += [members[row] for row in sorted(rows)]
    return Examples({outcome: len(found) for outcome, found in groups.items()}, tuple(shown))


def _rankings(task: RankingTask, model: Composer, device: torch.device) -> list[Ranking]:
    """The ranking of every query of a task."""
    texts = texts_by_order(task.queries, "joined")[0]
    composed = compose_task(task, texts, model.embeddings, model.combiner, device)
    found = zip(composed.ranks().tolist(), composed.first(SHOWN_IMAGES), strict=True)
    return [Ranking(rank, first) for rank, first in found]


def _outcome(before: Ranking, after: Ranking) -> Outcome:
    was, now = before.rank <= SHOWN_IMAGES, after.rank <= SHOWN_IMAGES
    if was:
        return "kept" if now else "lost"
    return "gained" if now else "missed"
