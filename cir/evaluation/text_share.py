"""The weighted sum's one weight, chosen on dev: how much of a query is its text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import torch

from cir.artefacts.store import Embeddings
from cir.data.queries import Query
from cir.evaluation.evaluator import Evaluator
from cir.evaluation.protocol import Protocol
from cir.evaluation.recall import recalls
from cir.models.combiner import SumCombiner

SHARES: Final = tuple(step / 20 for step in range(21))
"""What is tried: from the image alone to the text alone, by twentieths."""


def choose_text_share(
    queries: Iterable[Query],
    galleries: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    device: torch.device | str,
) -> float:
    """The share of the text in the weighted sum that has the best mean R@10.

    Args:
        queries: Of a split that no figure is reported of, each with a target.
        galleries: Image ids of that split by category.
        embeddings: Vectors of every image and caption.
        protocol: How they are judged, on that split.
        device: Where vectors are composed and compared.

    Returns:
        One of `SHARES`; of equally good ones the nearest to the plain sum, and of these the lesser.

    Raises:
        DatasetError: a target is in no gallery, or no query is left.
        StoreError: an image or a text has no vector.
    """
    evaluator = Evaluator(queries, galleries, embeddings, [protocol], device=device)

    def recall_at_10(share: float) -> float:
        (ranks,) = evaluator.judge(embeddings, SumCombiner(share))
        return recalls(ranks, "sum").mean[10]

    by_distance = sorted(SHARES, key=lambda share: abs(share - 0.5))
    return max(by_distance, key=recall_at_10)
