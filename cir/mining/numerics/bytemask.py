"""Marks on candidates, a byte each: vector instructions set them, and the few set are listed."""

from typing import Final, no_type_check

import numpy as np
from jaxtyping import Int64, UInt8

from cir.mining.numerics.jit import compiled

_WORD: Final = 8
"""Marks that are skipped at once where none of them is set."""


def unmarked(count: int) -> UInt8[np.ndarray, " words"]:
    """Scratch for the marks of `count` candidates: a byte for each, in whole words."""
    return np.zeros(_WORD * ((count + _WORD - 1) // _WORD), np.uint8)


def unlisted(count: int) -> Int64[np.ndarray, " positions"]:
    """Scratch for the positions of up to `count` marks, and of the one that is looked at next."""
    return np.empty(count + 1, np.int64)


@compiled
@no_type_check
def list_marked(marked, positions):
    """Writes the positions of the marks that are set, clears the marks, and returns their count.

    `positions` is `unlisted` of as many. Each position is written, and the next one over it unless
    it is marked: a branch in its place is often foreseen wrongly by the processor.
    """
    words, count = marked.view(np.uint64), 0
    for word in range(words.shape[0]):
        if words[word]:
            for position in range(_WORD * word, _WORD * word + _WORD):
                positions[count] = position
                count += marked[position]
            words[word] = 0
    return count
