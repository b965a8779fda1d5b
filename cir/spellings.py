"""Options that are spelled in one text: sums of losses or candidates, and a curriculum."""

import math
from dataclasses import dataclass
from typing import Final, get_args

from cir.types import Candidates, LossTerm, Strategy

_CANDIDATES: Final[tuple[Candidates, ...]] = get_args(Candidates)
_TERMS: Final[tuple[LossTerm, ...]] = get_args(LossTerm)
_STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)


def loss_weights(text: str) -> dict[LossTerm, float]:
    """The weight of each term of a sum such as `0.5*triplet+contrastive`.

    Raises:
        ValueError: the text is no such sum; says what was expected.
    """
    weights: dict[LossTerm, float] = {}
    for part in text.split("+"):
        factor, _, name = part.strip().rpartition("*")
        weight = _number(factor) if factor else 1.0
        term = next((term for term in _TERMS if term == name.strip()), None)
        if term is None or term in weights or weight is None:
            raise ValueError(
                f"expected a sum of {' and '.join(_TERMS)}, each once, with weights above 0, "
                f"as in 0.5*triplet+contrastive"
            )
        weights[term] = weight
    return weights


def candidates(text: str) -> frozenset[Candidates]:
    """The candidates of the contrastive term in a sum such as `batch+mined`.

    Raises:
        ValueError: the text is no such sum; says what was expected.
    """
    names = [part.strip() for part in text.split("+")]
    chosen = [known for known in _CANDIDATES if known in names]
    if sorted(chosen) != sorted(names) or "batch" not in chosen:
        raise ValueError(
            f"expected batch alone or with {', '.join(_CANDIDATES[1:])}, each once, "
            f"as in batch+mined"
        )
    return frozenset(chosen)


@dataclass(frozen=True)
class Curriculum:
    """Strategies, one after the other, and the epochs that each is for."""

    stages: tuple[tuple[Strategy, int], ...]
    """The last lasts to the end, whatever its number."""

    def strategy(self, epoch: int) -> Strategy:
        """What the negatives of an epoch are mined by; the first epoch is 1."""
        last = 0
        for strategy, epochs in self.stages:
            last += epochs
            if epoch <= last:
                return strategy
        return self.stages[-1][0]

    def first_epoch(self, stage: int) -> int:
        """The epoch that a stage begins with; the first stage is 0."""
        return 1 + sum(epochs for _, epochs in self.stages[:stage])


def curriculum(text: str) -> Curriculum:
    """The stages of a text such as `random:2,semi-hard:5,hard`.

    Raises:
        ValueError: the text is no such list; says what was expected.
    """
    stages: list[tuple[Strategy, int]] = []
    parts = text.split(",")
    for stage, part in enumerate(parts, start=1):
        name, _, number = part.strip().partition(":")
        strategy = next((known for known in _STRATEGIES if known == name), None)
        epochs = _epochs(number, last=stage == len(parts))
        if strategy is None or not epochs:
            raise ValueError(
                f"expected strategies ({', '.join(_STRATEGIES)}), each but the last with its "
                f"epochs, as in random:2,semi-hard:5,hard"
            )
        stages.append((strategy, epochs))
    return Curriculum(tuple(stages))


def _epochs(number: str, *, last: bool) -> int:
    """Epochs of a stage; 0 where they are missing or no number above 0."""
    if not number:
        return 1 if last else 0
    return int(number) if number.isdecimal() else 0


def _number(text: str) -> float | None:
    """A finite number above 0, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
