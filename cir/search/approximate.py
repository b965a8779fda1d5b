"""An approximate index of a gallery in memory, as good as it is told to be.

The index is made once, and then looks ever farther until it finds enough of what comparing every
row finds for a sample of queries. What it finds then is its recall, which is told.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int64

from cir.artefacts.store import Embeddings
from cir.config import IndexKind
from cir.mining.faiss_index import CandidateIndex
from cir.progress import SILENT, Progress
from cir.search.gallery import Gallery
from cir.search.proposing import Allowed, Recall
from cir.search.recall import RecallSample, sample_queries

ENOUGH: Final = 0.98
"""The recall with which an index looks no farther."""
_LEAST_EFFORT: Final[dict[IndexKind, int]] = {"ivf": 8, "hnsw": 32, "ivfpq": 8}
"""Of the first try: lists, or vectors of a graph, which are more than a query asks for."""
_WIDER: Final[dict[IndexKind, int]] = {"ivf": 1, "hnsw": 1, "ivfpq": 8}
"""Rows proposed for each that is asked for: short codes order near rows roughly."""


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """Proposes what an index of FAISS finds."""

    kind: IndexKind
    index: CandidateIndex
    effort: int
    """Lists looked into, or of a graph, vectors looked at."""
    recall: Recall

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.index.factory})"

    def propose(
        self, query: Float32[np.ndarray, " dim"], k: int, allowed: Allowed
    ) -> Int64[np.ndarray, " proposed"]:
        """Looks among the allowed rows alone."""
        among = allowed.rows[: self.index.count]
        return self.index.near(query, k * _WIDER[self.kind], self.effort, among)


def build_index(
    kind: IndexKind, gallery: Gallery, embeddings: Embeddings, progress: Progress = SILENT
) -> ApproximateIndex:
    """The index of a gallery.

    Args:
        kind: Which.
        gallery: Nothing was added to it or removed from it yet.
        embeddings: Its store.
        progress: Shows vectors added per second.

    Raises:
        UsageError: there are too few vectors to train this index.
    """
    made = CandidateIndex(gallery.vectors, kind, 1, torch.device("cpu"), progress)
    sample = RecallSample(gallery, sample_queries(embeddings))
    best = _measured(ApproximateIndex(kind, made, _LEAST_EFFORT[kind], Recall.unknown()), sample)
    while best.recall.found < ENOUGH and best.effort < made.most_effort:
        farther = _measured(replace(best, effort=2 * best.effort), sample)
        if farther.recall.found <= best.recall.found:
            break
        best = farther
    return best


def _measured(index: ApproximateIndex, sample: RecallSample) -> ApproximateIndex:
    return replace(index, recall=sample.of(index))
