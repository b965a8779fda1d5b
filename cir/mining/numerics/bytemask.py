"""Marks on candidates, a byte each: vector instructions set them, and the few set are listed."""

from typing import Final, no_type_check

import numpy as np
from jaxtyping import UInt8

from cir.mining.numerics.jit import compiled

_WORD: Final = 8
"""Marks that are skipped at once where none of them is set."""


def unmarked(count: int) -> UInt8[np.ndarray, " words"]:
    """Scratch for the marks of `count` candidates: a byte for each, in whole words."""
    return np.zeros(_WORD * ((count + _WORD - 1) // _WORD), np.uint8)


@compiled
@no_type_check
def list_marked(marked, positions):
    """Writes the positions of the marks that are set, clears the marks, and returns their count."""
    words, count = marked.view(np.uint64), 0
    for word in range(words.shape[0]):
        if words[word]:
            for position in range(_WORD * word, _WORD * word + _WORD):
                if marked[position]:
                    positions[count] = position
                    count += 1
            words[word] = 0
    return count
