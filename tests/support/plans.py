"""Plans of every sort, and a world in which they starve some queries and fill others."""

from functools import cache
from typing import Any, Final

import numpy as np

from cir.artefacts.vectors import normalised
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem

QUERIES: Final = 40
GALLERY: Final = 333
NEAR: Final = (Draw("any", 1.0, "semi-hard"),)
MIXED: Final = (
    Draw("same-category", 0.6, "semi-hard"),
    Draw("other-category", 0.2, "hard"),
    Draw("any", 0.2, "any"),
)
PLANS: Final[dict[str, dict[str, Any]]] = {
    "semi-hard": {"draws": NEAR},
    "hard": {"draws": (Draw("any", 1.0, "hard"),)},
    "easy": {"draws": (Draw("any", 1.0, "easy"),)},
    "random": {"draws": (Draw("any", 1.0, "any"),), "seed": 3},
    "uniform": {"draws": NEAR, "sampling": "random", "fill": "random"},
    "softmax": {"draws": NEAR, "sampling": "softmax", "temperature": 0.03},
    "by category": {"draws": MIXED, "fill": "random"},
    "by category, softmax": {"draws": MIXED, "sampling": "softmax", "temperature": 0.03},
    "window": {"draws": NEAR, "range_min": 5, "range_max": 40},
    "filters": {"draws": NEAR, "relative_margin": 0.1, "max_similarity": 0.5},
    "many": {"draws": MIXED, "num_negatives": 70},
    "unfilled": {"draws": MIXED, "num_negatives": 40, "fill": None},
}

PRETENDED: Final = ("easy", "uniform", "by category, softmax", "window")
"""Those mined on a pretend device: every sort of draw, interval, scope and scan is among them."""


def plan(name: str) -> Plan:
    return Plan(**{"num_negatives": 6, "margin": 0.1} | PLANS[name])


@cache
def world() -> Problem:
    """Clusters, copies within float32's rounding, exact copies and queries that are images."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 24))
    table = centres[rng.integers(0, 5, GALLERY)] + 0.4 * rng.standard_normal((GALLERY, 24))
    table[100:140] = table[:40] * (1 + 1e-7)
    table[140:200:3] = table[7]
    gallery = normalised(table, "gallery")
    asked = table[rng.integers(0, GALLERY, QUERIES)] + 0.3 * rng.standard_normal((QUERIES, 24))
    asked[::9] = table[:QUERIES:9]
    targets = rng.integers(0, GALLERY, QUERIES)
    excluded = [{int(own), *rng.integers(0, GALLERY, 5).tolist()} for own in targets]
    return Problem(
        normalised(asked, "queries"),
        gallery[targets],
        gallery,
        exclusions_of(excluded),
        rng.integers(0, 2, QUERIES),
        rng.random((2, GALLERY)) < 0.6,
    )


def assert_same(found: Mined, expected: Mined) -> None:
    assert found.excluded == expected.excluded
    for name, values in vars(expected).items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)
