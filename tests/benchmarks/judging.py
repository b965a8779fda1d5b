"""What a contestant's negatives are worth, held against brute force."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int8, Int64

from cir.config import MiningOptions, scope_shares
from cir.mining.manifest import plan_of
from cir.types import KINDS, SCOPES
from tests.benchmarks.brute import BruteForce, Truth

NONE = -1
"""The gallery row that stands for no negative."""
ANY = SCOPES.index("any")


@dataclass(frozen=True, eq=False)
class Answer:
    """The negatives that a contestant gave."""

    numbers: Int64[np.ndarray, " served"]
    """The queries that it was asked about."""
    rows: Int64[np.ndarray, "served negatives"]
    """Gallery rows; `NONE` where there are fewer."""
    claimed: Bool[np.ndarray, "served negatives"]
    """Which of them it says are of the wanted kind: all, where it marks none as filled up."""
    scopes: Int8[np.ndarray, "served negatives"]
    """Positions in `cir.types.SCOPES`: where it says that each was drawn from."""


def answer_of(
    numbers: Int64[np.ndarray, " served"], rows: Int64[np.ndarray, "served negatives"]
) -> Answer:
    """The answer of one that knows neither fills nor scopes."""
    claimed = np.ones(rows.shape, dtype=np.bool_)
    return Answer(numbers, rows, claimed, np.full(rows.shape, ANY, dtype=np.int8))


@dataclass(frozen=True)
class Expected:
    """What a query should get."""

    drawn: dict[int, str]
    """Gallery row to scope, from the bands: these very rows, or as many where chance decides."""
    certain: bool
    """Whether chance has no part in `drawn`."""
    filled: dict[int, str]
    """`drawn`, and what a starved query is filled up with."""
    fill_certain: bool
    """Whether chance has no part in `filled`."""


@dataclass(frozen=True)
class Judgement:
    """Shares of the queries."""

    empty: float
    """Without a valid negative of the wanted kind."""
    starved: float
    """With fewer than the wanted number of them."""
    reference: float
    """With the reference image among the negatives."""
    agreeing: float
    """Of the sampled queries: with exactly the negatives of brute force; where chance decides, with
    as many, all of them valid and of the wanted kind."""


def judged(
    answer: Answer, brute: BruteForce, truths: Sequence[Truth], options: MiningOptions
) -> Judgement:
    """Judges an answer.

    Args:
        answer: Negatives of all queries or of some.
        brute: Knows the world.
        truths: Of a sample of the queries that were served.
        options: What was asked for.
    """
    usable = (_usable(answer, brute, options) & answer.claimed).sum(axis=1)
    references = brute.world.references[answer.numbers]
    quota = plan_of(options).quota(answer.numbers)
    place = {number: at for at, number in enumerate(answer.numbers.tolist())}
    agreeing = [_agrees(answer, place[t.number], t, options, quota) for t in truths]
    return Judgement(
        empty=float((usable == 0).mean()),
        starved=float((usable < options.num_negatives).mean()),
        reference=float((answer.rows == references[:, None]).any(axis=1).mean()),
        agreeing=float(np.mean(agreeing)),
    )


def expected(truth: Truth, options: MiningOptions, quota: Int64[np.ndarray, " draws"]) -> Expected:
    """Serves the draws in turn, always with the nearest, and then fills up.

    How many a draw finds does not depend on which ones an earlier draw took, unless it was left to
    chance and its band reaches into the later ones.
    """
    taken: dict[int, str] = {}
    certain, owed = True, []
    for (scope, kind), wanted in zip(draws_of(options), quota.tolist(), strict=True):
        sampled = options.sampling != "top" or kind == "any"
        found, chance = _taken(truth, scope, kind, taken, wanted, sampled=sampled)
        certain &= not chance
        owed.append((scope, wanted - found))
    drawn, fill_certain = dict(taken), certain
    if options.on_starved in ("nearest", "random"):
        for scope, wanted in [*owed, ("any", options.num_negatives)]:
            left = min(wanted, options.num_negatives - len(taken))
            sampled = options.on_starved == "random"
            _, chance = _taken(truth, scope, "any", taken, left, sampled=sampled)
            fill_certain &= not chance
    return Expected(drawn, certain, taken, fill_certain)


def draws_of(options: MiningOptions) -> list[tuple[str, str]]:
    """(scope, kind) of each draw that has a share."""
    if options.strategy == "category-aware":
        return [(scope, kind) for scope, share, kind in scope_shares(options) if share]
    return [("any", "any" if options.strategy == "random" else options.strategy)]


def _taken(
    truth: Truth, scope: str, kind: str, taken: dict[int, str], wanted: int, *, sampled: bool
) -> tuple[int, bool]:
    """Adds the nearest free ones; how many there were, and whether chance would choose others."""
    if wanted <= 0:
        return 0, False
    free = truth.band(scope, kind)
    free[list(taken)] = False
    found = truth.nearest(free, wanted)
    taken.update(dict.fromkeys(found, scope))
    return len(found), sampled and int(free.sum()) > wanted


def _usable(
    answer: Answer, brute: BruteForce, options: MiningOptions
) -> Bool[np.ndarray, "served negatives"]:
    """Which negatives are valid and of the kind that was wanted of their scope."""
    at = np.nonzero(answer.rows != NONE)
    valid, kinds = brute.pairs(answer.numbers[at[0]], answer.rows[at])
    wanted = np.zeros((len(SCOPES), len(KINDS)), dtype=np.bool_)
    for scope, kind in draws_of(options):
        wanted[SCOPES.index(scope)] = [kind in ("any", each) for each in KINDS]
    usable = np.zeros(answer.rows.shape, dtype=np.bool_)
    usable[at] = valid & wanted[answer.scopes[at], kinds]
    return usable


def _agrees(
    answer: Answer,
    at: int,
    truth: Truth,
    options: MiningOptions,
    quota: Int64[np.ndarray, "served draws"],
) -> bool:
    """Whether one query got what brute force gives it."""
    should = expected(truth, options, quota[at])
    there = answer.rows[at] != NONE
    if not truth.valid[answer.rows[at][there]].all():
        return False
    given = answer.claimed[at] & there
    rows = answer.rows[at][given].tolist()
    scopes = [SCOPES[code] for code in answer.scopes[at][given]]
    if should.certain:
        return sorted(zip(rows, scopes, strict=True)) == sorted(should.drawn.items())
    kind_of = dict(draws_of(options))
    members = all(truth.band(s, kind_of[s])[row] for row, s in zip(rows, scopes, strict=True))
    return members and len(set(rows)) == len(rows) == len(should.drawn)
