"""Negatives mined over precomputed vectors: exact bands, safe from false negatives.

The names here work on plain arrays and know no files; `cir.mining.manifest` joins them to a dataset.
Begin with `mine_negatives`; `Problem`, `Plan` and `mine` are what it is made of.
"""

from cir.mining.engine import NONE, Draw, Mined, Plan, Problem, mine
from cir.mining.export import as_columns
from cir.mining.corpus import mine_negatives
from cir.mining.exclusions.rules import Exclusions, exclusions_of

__all__ = [
    "NONE",
    "Draw",
    "Exclusions",
    "Mined",
    "Plan",
    "Problem",
    "as_columns",
    "exclusions_of",
    "mine",
    "mine_negatives",
]
