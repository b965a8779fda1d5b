"""Queries composed into one unit vector each: a reference image and the text that modifies it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from cir import arguments
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import normalised
from cir.data.queries import Query
from cir.errors import VectorError
from cir.machine.arithmetic import float32
from cir.models.combiner import ReferenceOnly, SumCombiner, TextOnly

_BASELINES: Final[Mapping[str, Callable[[float], nn.Module]]] = {
    "reference": lambda _: ReferenceOnly(),
    "text": lambda _: TextOnly(),
    "sum": SumCombiner,
    "weighted-sum": SumCombiner,
}


def baseline(query: str, text_share: float = 0.5) -> nn.Module:
    """The combiner that needs no training called `query`: reference, text or sum.

    Args:
        query: Its name; `weighted-sum` is the sum under the name of one whose share was chosen.
        text_share: The share of the text in the sum.

    Raises:
        UsageError: there is none of that name, or the share is none.
    """
    arguments.choice("query", query, _BASELINES)
    return _BASELINES[query](text_share)


def compose(
    combiner: nn.Module,
    reference: Float[np.ndarray, "queries dim"],
    text: Float[np.ndarray, "texts text_dim"],
    *,
    device: torch.device | str,
    batch_size: int = 4096,
) -> Float[np.ndarray, "queries dim"]:
    """Composes each reference with its text, a batch at a time, in evaluation mode.

    Args:
        combiner: Takes the encoder's raw image and text vectors (`cir.models.combiner`). It is
            moved to `device`, and left in the mode it came in. One without parameters stays on the
            CPU, so that its queries are the same on every machine, bit for bit.
        reference: Vectors of the reference images, as the encoder gave them.
        text: Vectors of the texts, one a reference.
        device: Where it is computed.
        batch_size: Queries at once.

    Returns:
        Unit vectors, float32.

    Raises:
        VectorError: `reference` and `text` are not as many vectors of the combiner's dimension, or
            a composed vector has no direction: the combiner has diverged.
        UsageError: `batch_size` is below 1, or another argument is of another kind.
    """
    _require_pairs(combiner, reference, text, batch_size)
    was_training = combiner.training
    first = next(combiner.parameters(), None)
    device = torch.device("cpu" if first is None else device)
    if first is None or first.device != device:
        combiner.to(device)
    if any(module.training for module in combiner.modules()):
        combiner.eval()
    composed = np.empty(reference.shape, dtype=np.float32)
    with torch.inference_mode(), float32():
        for start in range(0, len(reference), batch_size):
            rows = slice(start, start + batch_size)
            image = torch.from_numpy(reference[rows]).to(device)
            words = torch.from_numpy(text[rows]).to(device)
            composed[rows] = combiner(image, words).float().cpu().numpy()
    if was_training:
        combiner.train()
    _require_composed(composed, reference, text)
    return normalised(composed, "composed queries")


def composed_queries(
    queries: Sequence[Query],
    texts: Sequence[str],
    embeddings: Embeddings,
    combiner: nn.Module,
    device: torch.device,
) -> Float[np.ndarray, "queries dim"]:
    """Composes each query's reference with its text.

    Args:
        queries: Whose reference images are taken.
        texts: What the captions of each query are read as, one a query.
        embeddings: Vectors of every reference and text.
        combiner: Composes an image and a text vector into a query (`cir.models.combiner`).
        device: Where it is computed.

    Returns:
        Unit vectors, float32.

    Raises:
        StoreError: the store lacks a reference or a text.
        VectorError: there are not as many texts as queries, or a composed vector has no direction.
    """
    return compose(
        combiner,
        embeddings.images.take([query.reference_id for query in queries]),
        embeddings.captions.take(texts),
        device=device,
    )


def _require_pairs(
    combiner: nn.Module,
    reference: Float[np.ndarray, "queries dim"],
    text: Float[np.ndarray, "texts text_dim"],
    batch_size: int,
) -> None:
    """Raises VectorError or UsageError unless the combiner can compose these."""
    arguments.instance("combiner", combiner, nn.Module)
    arguments.integer("batch_size", batch_size, 1)
    for name, vectors in (("reference", reference), ("text", text)):
        arguments.table_of_floats(name, vectors)
    if reference.shape != text.shape:
        raise VectorError(
            f"`reference` has shape {reference.shape}, `text` {text.shape}; expected one text a "
            f"reference, of the same dimension"
        )
    dim = getattr(combiner, "dim", reference.shape[1])
    if dim != reference.shape[1]:
        raise VectorError(
            f"the combiner takes {dim}-d vectors; those of the references are "
            f"{reference.shape[1]}-d: pass vectors of the encoder it was made for"
        )


def _require_composed(
    composed: Float[np.ndarray, "queries dim"],
    reference: Float[np.ndarray, "queries dim"],
    text: Float[np.ndarray, "queries dim"],
) -> None:
    """Raises VectorError where a composed vector has no direction, and says whose fault it is."""
    lengths = np.linalg.norm(composed, axis=1)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if not wrong.size:
        return
    first = wrong[0]
    for name, vectors in (("reference", reference), ("text", text)):
        if not np.isfinite(vectors[first]).all():
            raise VectorError(f"`{name}`: row {first} is not finite; expected numbers")
        if not vectors[first].any():
            raise VectorError(f"`{name}`: row {first} is all zero; expected a direction")
    raise VectorError(
        f"{wrong.size} of {len(composed)} composed queries have no direction, the first in row "
        f"{first}: the combiner has diverged; train again with a lower `learning_rate`"
    )
