"""Negatives mined over precomputed vectors: exact bands, with known false negatives excluded.

The names exported here work on plain arrays and know no files. Begin with `mine_negatives`.

    corpus           mine_negatives: negatives for the arrays of any retriever
    export           what it mined, as columns of training data
    manifest         mine_manifest: a dataset's queries and galleries become a manifest
    advice           what a store speaks for: strategy, place in the band, filters
    manifest_export  a manifest as training data
    proposals        pairs of a reference and a near image, to be worded as new queries
    diversity        which of them are chosen: a photo is in few
    approximate      mining through an index, and how far that is from exact
    faiss_index      the index: the only module that knows FAISS
    online           negatives found at every step of training

    engine           mine: bands, then scan, then selection
    problem          its input, a Problem, and its output, a Mined
    plan             which negatives it is to find: draws, quotas and filters
    bands            where the bands of each query begin and end
    steep_drops      where the band `adaptive` does
    selection        negatives chosen from what the scan kept
    machine          how it runs: device, block size, processes
    arguments        checks of what callers pass

    scan             every query compared with the gallery: counts, and pools of candidates
    device           the same wholly on a GPU: only what is found comes back
    exclusions       the images that are no negatives of a query
    sketch           cheap products, with a bound of their error, that rule most candidates out
    numerics         the one cosine, codes of floats, compiled loops, threads

The data flows one way: Problem and Plan → ScanRequest → ScanResult → Selection → Mined → Manifest.
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
