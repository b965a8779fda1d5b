"""A choice of pairs that repeats few of their members: greedy, in rounds."""

from collections import Counter

import numpy as np
from jaxtyping import Float, Int, Int64


def diverse_pairs(
    references: Int[np.ndarray, " pairs"],
    targets: Int[np.ndarray, " pairs"],
    priorities: Float[np.ndarray, " pairs"],
    *,
    count: int,
    most_uses: int,
) -> Int64[np.ndarray, " chosen"]:
    """Chooses pairs in the order of their priorities, and spreads them over their members.

    Round n goes through all pairs and takes each whose reference and target are both in fewer than
    n of the pairs taken so far: a second pair of a reference comes after the first of every other.

    Args:
        references: The reference of each pair, as a number.
        targets: The target of each, numbered apart from the references.
        priorities: The lowest is taken first; of equal ones the first.
        count: Pairs that suffice.
        most_uses: Pairs that a reference, or a target, may be in: the number of rounds.

    Returns:
        The places of the chosen pairs, in the order in which they were taken; a pair that stands
        there several times is taken once.
    """
    order = np.argsort(priorities, kind="stable").tolist()
    as_reference, as_target = Counter[int](), Counter[int]()
    taken: dict[tuple[int, int], int] = {}
    for uses in range(1, most_uses + 1):
        before = len(taken)
        for place in order:
            if len(taken) >= count:
                break
            pair = int(references[place]), int(targets[place])
            fresh = as_reference[pair[0]] < uses and as_target[pair[1]] < uses
            if fresh and pair not in taken:
                taken[pair] = place
                as_reference[pair[0]] += 1
                as_target[pair[1]] += 1
        if len(taken) == before:  # then no later round finds another
            break
    return np.array(list(taken.values()), dtype=np.int64)
