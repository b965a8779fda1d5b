"""Negatives mined over precomputed vectors: exact bands, safe from false negatives.

The names here work on plain arrays and know no files; `cir.mining.offline` joins them to a dataset.
"""

from cir.mining.engine import NONE, Draw, Mined, Plan, Problem, mine
from cir.mining.validity import Exclusions, exclusions_of

__all__ = ["NONE", "Draw", "Exclusions", "Mined", "Plan", "Problem", "exclusions_of", "mine"]
