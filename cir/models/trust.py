"""How far each query's pair is trusted: the probability that its target answers it at all.

DivideMix (Li, Socher and Hoi, ICLR 2020, section 3.1) tells wrong labels by their loss: a mixture
of two components is fitted to the losses of all training examples, and an example weighs as much as
it probably belongs to the component of small losses. Here the loss is the rank of the target, and
the component of wrong pairs is known beforehand, so that nothing is split in two where every pair
is right (the two-groups model of Efron, Microarrays, Empirical Bayes and the Two-Groups Model,
Statistical Science 2008, section 2):

    wrong   the target is any image of the category: its rank r is uniform over 1 to N, the
            category's size, and log r has the density r / N
    right   log r is normal, with the mean μ and the deviation σ

    P(right | r) = s φ(log r) / (s φ(log r) + (1 − s) r / N)

The share s of right pairs, μ and σ are those of greatest likelihood, found by expectation
maximisation. No rank is held against a pair that is better than the one that speaks most for it,
exp(μ − σ²), and ranks beyond N count as N.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int

_ROUNDS: Final = 100
_LEAST_DEVIATION: Final = 0.1
"""Of log r, so that targets which all have one rank are a component, too."""


def trust(
    ranks: Int[np.ndarray, " queries"], sizes: Int[np.ndarray, " queries"]
) -> Float32[np.ndarray, " queries"]:
    """The probability that each query's pair is right.

    Args:
        ranks: Of the queries' targets among their candidates, 1 for the nearest.
        sizes: Images of each query's category.
    """
    logs, limits = np.log(np.minimum(ranks, sizes)), np.log(sizes)
    right: Float64[np.ndarray, " queries"] = 1 - np.exp(logs - limits)
    for _ in range(_ROUNDS):
        right = _RightPairs.of(logs, right).probability(logs, limits)
    return right.astype(np.float32)


@dataclass(frozen=True)
class _RightPairs:
    """The component of right pairs."""

    share: float
    mean: float
    deviation: float

    @classmethod
    def of(
        cls, logs: Float64[np.ndarray, " queries"], right: Float64[np.ndarray, " queries"]
    ) -> "_RightPairs":
        """The component of greatest likelihood where pairs are right with these probabilities."""
        total = max(float(right.sum()), np.finfo(np.float64).tiny)
        mean = float((right * logs).sum()) / total
        variance = float((right * (logs - mean) ** 2).sum()) / total
        return cls(total / len(logs), mean, max(math.sqrt(variance), _LEAST_DEVIATION))

    def probability(
        self, logs: Float64[np.ndarray, " queries"], limits: Float64[np.ndarray, " queries"]
    ) -> Float64[np.ndarray, " queries"]:
        """P(right | r) of each query."""
        logs = np.maximum(logs, self.mean - self.deviation**2)
        normal = np.exp(-(((logs - self.mean) / self.deviation) ** 2) / 2)
        right = self.share * normal / (self.deviation * math.sqrt(2 * math.pi))
        wrong = (1 - self.share) * np.exp(np.minimum(logs - limits, 0))
        probability: Float64[np.ndarray, " queries"] = right / np.maximum(
            right + wrong, np.finfo(np.float64).tiny
        )
        return probability
