"""Texts through the encoder in order of length, each once and none further than it goes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from cir.encoding.batching import padded_to, require_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.lanes import in_lanes

_GRAIN = 4
"""Texts are cut at a multiple of this many tokens."""
_TOKENIZED = 4096
"""Texts tokenized at once."""


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Some texts of a list, encoded."""

    rows: Int[np.ndarray, " batch"]
    vectors: Float[np.ndarray, "batch dim"]


def encode_by_length(
    encoder: Encoder, texts: Sequence[str], batch_size: int, *, padded: bool
) -> Iterator[EncodedTexts]:
    """The vectors of texts, the shortest first; `rows` say which of them each batch holds.

    A text's context depends on the text alone, so that its vector does not depend on the others.

    Args:
        encoder: Used in the mode (train or eval) that it is in.
        texts: Distinct; cut at the model's context length.
        batch_size: Texts encoded at once.
        padded: Whether a batch that is cut short is filled up: processors may compute other last
            bits for another number of rows.

    Raises:
        VectorError: an output has no direction.
    """
    tokens = _Tokens(encoder, texts)

    def encode(batch: _TextBatch) -> EncodedTexts:
        part = batch.rows
        some = padded_to(tokens.of(part, batch.context), batch_size if padded else len(part))
        with torch.inference_mode():
            encoded = encoder.encode_texts(some.to(encoder.device))[: len(part)]
        return EncodedTexts(part, require_vectors(encoded, [texts[row] for row in part], encoder))

    batches = tokens.batches(batch_size)
    return in_lanes(encoder, encode, batches, len(batches))


class _TextBatch(NamedTuple):
    """Texts whose tokens fit the same context."""

    rows: Int[np.ndarray, " batch"]
    context: int


class _Tokens:
    """The tokens of many texts, without their padding."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        parts, lengths, self.context = [], [], 0
        for start in range(0, len(texts), _TOKENIZED):
            tokens = encoder.tokenize(texts[start : start + _TOKENIZED])
            ends = encoder.text_ends(tokens).numpy()
            self.context = max(self.context, tokens.shape[1])
            parts.append(tokens.numpy()[np.arange(self.context) < ends[:, None]])
            lengths.append(ends)
        self.lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._flat = np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def batches(self, size: int) -> list[_TextBatch]:
        """All texts by their contexts, the shortest first, so many at once."""
        contexts = np.minimum(-(-self.lengths // _GRAIN) * _GRAIN, self.context)
        made = []
        for context in np.unique(contexts).tolist():
            rows = np.flatnonzero(contexts == context)
            parts = [rows[start : start + size] for start in range(0, len(rows), size)]
            made += [_TextBatch(part, context) for part in parts]
        return made

    def of(self, rows: Int[np.ndarray, " batch"], context: int) -> torch.Tensor:
        """(batch, context) tokens of some texts, zeros behind their ends."""
        made = np.zeros((len(rows), context), dtype=self._flat.dtype)
        for place, row in enumerate(rows):
            start, length = int(self._starts[row]), int(self.lengths[row])
            made[place, :length] = self._flat[start : start + length]
        return torch.from_numpy(made)
