"""Whether counts are what chance would give.

Seeds are fixed in tests, so that each gives the same verdict for ever; `DOUBT` is how seldom a
sound sampler would have been refused when its seed was chosen.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Final

import numpy as np
import torch

DOUBT: Final = 1e-6

_LEAST_EXPECTED: Final = 5
"""Cells of which less is expected are counted as one: the statistic is a sum of squared normals."""


def p_value(seen: Iterable[Hashable], probabilities: Mapping[Hashable, float]) -> float:
    """Pearson's chi-square test: how often chance strays further than `seen` from a distribution.

    What has no probability must not be seen.
    """
    counts = Counter(seen)
    assert set(counts) <= set(probabilities)
    observed = np.array([counts[cell] for cell in probabilities], dtype=np.float64)
    expected = np.array(list(probabilities.values())) * observed.sum()
    np.testing.assert_allclose(expected.sum(), observed.sum())
    rare = expected < _LEAST_EXPECTED
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    half = torch.tensor([(len(expected) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def evenly(cells: Iterable[Hashable]) -> dict[Hashable, float]:
    """Each cell as likely as any other."""
    listed = list(cells)
    return dict.fromkeys(listed, 1 / len(listed))
