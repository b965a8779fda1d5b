"""Negatives mined over precomputed vectors: exact bands, safe from false negatives.

The names here work on plain arrays and know no files. Begin with `mine_negatives`. The data flows
one way, dataset → Problem + Plan → ScanRequest → ScanResult → Selection → Mined → Manifest:

    corpus        mine_negatives: any retriever's arrays      export     what it mined as columns
    manifest      queries, galleries and options → Manifest   online     negatives while training
    approximate   mining through an index, and how far off    faiss_index  all that knows FAISS
    engine        mine: bands → scan → selection
    problem       what is mined in, and what comes of it      plan       what is to be mined
    bands         where bands begin and end                   selection  draws, fills and quotas
    scan/         the gallery streamed past the queries: counts, and pools of candidates
    exclusions/   which candidates are no negatives of a query
    sketch/       most similarities settled by a short product
    numerics/     the one cosine, codes of floats, compiled loops, threads
"""

from cir.mining.corpus import mine_negatives
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.export import as_columns
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from cir.types import NO_ROW

__all__ = [
    "NO_ROW",
    "Draw",
    "Mined",
    "Plan",
    "Problem",
    "as_columns",
    "exclusions_of",
    "mine",
    "mine_negatives",
]
