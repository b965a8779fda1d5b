"""Marks on candidates: vector instructions set them, and few of them are then listed."""

from typing import Final, no_type_check

import numpy as np
from jaxtyping import UInt8

from cir.mining.numerics.jit import compiled

_WORD: Final = 8
"""Marks passed over at once where none of them is set."""


def unmarked(count: int) -> UInt8[np.ndarray, " words"]:
    """Scratch for the marks of `count` candidates: a byte for each, in whole words."""
    return np.zeros(_WORD * ((count + _WORD - 1) // _WORD), np.uint8)


@compiled
@no_type_check
def list_marked(marked, places):
    """Writes the places of the marks that are set, clears them, and says how many they were."""
    words, count = marked.view(np.uint64), 0
    for word in range(words.shape[0]):
        if words[word]:
            for place in range(_WORD * word, _WORD * word + _WORD):
                if marked[place]:
                    places[count] = place
                    count += 1
            words[word] = 0
    return count
