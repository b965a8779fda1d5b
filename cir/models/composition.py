"""Queries composed into one unit vector each: a reference image and the text that modifies it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.dataset import Query
from cir.errors import UsageError, VectorError
from cir.models.combiner import ReferenceOnly, SumCombiner, TextOnly

_BASELINES: Final = {"reference": ReferenceOnly, "text": TextOnly, "sum": SumCombiner}


def baseline(query: str) -> nn.Module:
    """The composition that needs no training called `query`: reference, text or sum.

    Raises:
        UsageError: there is none of that name.
    """
    if query not in _BASELINES:
        raise UsageError(f"no untrained query {query!r}: expected one of {', '.join(_BASELINES)}")
    return _BASELINES[query]()


def compose(
    combiner: nn.Module,
    reference: Float[np.ndarray, "queries dim"],
    text: Float[np.ndarray, "queries dim"],
    *,
    device: torch.device,
    batch_size: int = 4096,
) -> Float[np.ndarray, "queries dim"]:
    """Composes each reference with its text, a batch at a time, in evaluation mode.

    Args:
        combiner: Takes the encoder's raw image and text vectors (`cir.models.combiner`). It is
            moved to `device`, and left in the mode it came in.
        reference: Vectors of the reference images, as the encoder gave them.
        text: Vectors of the texts.
        device: Where it is computed.
        batch_size: Queries at once.

    Returns:
        Unit vectors, float32.

    Raises:
        VectorError: a composed vector has no direction: the combiner has diverged.
    """
    was_training = combiner.training
    combiner.to(device).eval()
    composed = np.empty(reference.shape, dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(reference), batch_size):
            rows = slice(start, start + batch_size)
            image = torch.from_numpy(reference[rows]).to(device)
            words = torch.from_numpy(text[rows]).to(device)
            composed[rows] = combiner(image, words).float().cpu().numpy()
    combiner.train(was_training)
    lengths = np.linalg.norm(composed, axis=1)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if wrong.size:
        raise VectorError(
            f"{wrong.size} of {len(composed)} composed queries have no direction, the first in row "
            f"{wrong[0]}: the combiner has diverged; train again with a lower --learning-rate"
        )
    return normalised(composed, "composed queries")


def composed_queries(
    queries: Sequence[Query],
    texts: Sequence[str],
    embeddings: Embeddings,
    combiner: nn.Module,
    device: torch.device,
) -> Float[np.ndarray, "queries dim"]:
    """Composes queries whose captions are read as `texts`, one a query.

    Raises:
        StoreError: the store lacks a reference or a text.
        VectorError: a composed vector has no direction.
    """
    return compose(
        combiner,
        embeddings.images.take([query.reference_id for query in queries]),
        embeddings.captions.take(texts),
        device=device,
    )
