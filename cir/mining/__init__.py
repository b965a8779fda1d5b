"""Negatives mined over precomputed vectors: exact bands, safe from false negatives.

The names here work on plain arrays and know no files; `cir.mining.manifest` joins them to a dataset.
Begin with `mine_negatives`; `Problem`, `Plan` and `mine` are what it is made of.
"""

from cir.mining.corpus import mine_negatives
from cir.mining.engine import NONE, Draw, Mined, Plan, Problem, mine
from cir.mining.exclusions.excluded import Exclusions, exclusions_of
from cir.mining.export import as_columns

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
