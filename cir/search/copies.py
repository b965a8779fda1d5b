"""Near-copies among what was found: the reference's are left out, a result's are folded into it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64

from cir.config import MineConfig
from cir.search.gallery import Gallery

NEAR_COPY: Final = MineConfig.duplicate_threshold
"""The cosine from which two photos are copies of each other: that of mining's duplicates."""


@dataclass(frozen=True)
class Found:
    """A result's row, and the rows of its near-copies that it stands for."""

    row: int
    copies: list[int] = field(default_factory=list)


def distinct(
    rows: Int64[np.ndarray, " found"],
    gallery: Gallery,
    references: Float32[np.ndarray, "references dim"],
    digests: Sequence[str],
) -> list[Found]:
    """The rows without copies of the references, each with its own copies folded in.

    Args:
        rows: The best first: the best of some copies stands for them.
        gallery: Whose rows they are.
        references: Unit vectors of the query's references.
        digests: SHA-256 of the references' files, where they are known.
    """
    vectors = gallery.vectors_of(rows)
    of_reference = (vectors @ references.T >= NEAR_COPY).any(axis=1)
    near = vectors @ vectors.T >= NEAR_COPY
    known, kept = set(digests), dict[int, Found]()
    for place, row in enumerate(rows.tolist()):
        digest = gallery.digest(row)
        if of_reference[place] or (digest and digest in known):
            continue
        original = next((other for other in kept if near[place, other]), None)
        if original is None:
            kept[place] = Found(row)
        else:
            kept[original].copies.append(row)
    return list(kept.values())
