"""The texts that cir-tiny is trained on, drawn from what is known of photos.

A photo has a title and attributes. A text is the title, or a sentence that states one to three of
the attributes in the words of `cir.sources.wording`, so that the text tower meets the phrases of
composed queries ("is navy blue instead of black") from the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cir.sources.annotations import PhotoRecord
from cir.sources.wording import Change, captions

UNSTATED: Final = -1
"""Code of a facet that a photo's record says nothing of."""

_TITLE_SHARE: Final = 0.35
"""Share of texts that are titles."""
_CONTRAST_SHARE: Final = 0.5
"""Share of stated attributes that name another value as the reference's."""
_MOST_STATED: Final = 3
"""Attributes that one text states, at most."""


@dataclass(frozen=True)
class Pairs:
    """Texts drawn for a batch of photos, and which photos each fits."""

    texts: tuple[str, ...]
    positives: Bool[Tensor, "batch batch"]
    """[i, j]: text i fits photo j; the diagonal always does."""


class Corpus:
    """Draws texts for photos and knows which other photos they fit as well."""

    def __init__(self, records: Sequence[PhotoRecord]) -> None:
        """Numbers the facets and values that the records name."""
        self.records = tuple(records)
        self.facets = tuple(sorted({facet for record in records for facet in record.attributes}))
        self.values = tuple(
            tuple(sorted({r.attributes[facet] for r in records if facet in r.attributes}))
            for facet in self.facets
        )

    @cached_property
    def codes(self) -> Int[np.ndarray, "photos facets"]:
        """The number of each photo's value of each facet, or `UNSTATED`."""
        columns = [{value: number for number, value in enumerate(values)} for values in self.values]
        return np.array(
            [
                [
                    column.get(record.attributes.get(facet, ""), UNSTATED)
                    for facet, column in zip(self.facets, columns, strict=True)
                ]
                for record in self.records
            ],
            dtype=np.int64,
        ).reshape(len(self.records), len(self.facets))

    def draw(self, rows: Int[np.ndarray, " batch"], rng: np.random.Generator) -> Pairs:
        """One text a photo, and the photos of the batch that each text fits.

        A text fits the photos that have every attribute it states, and those that drew the same
        text. A title fits its own photo alone: what it says beyond the attributes is unknown.
        """
        drawn = [self._text(row, rng) for row in rows.tolist()]
        texts = np.array([text for text, _ in drawn])
        stated = np.zeros((len(rows), len(self.facets)), dtype=bool)
        for number, (_, facets) in enumerate(drawn):
            stated[number, list(facets)] = True
        codes = self.codes[rows]
        agrees = ((codes[:, None] == codes[None, :]) | ~stated[:, None]).all(axis=2)
        fits = agrees & stated.any(axis=1, keepdims=True)
        same = texts[:, None] == texts[None, :]
        return Pairs(tuple(texts.tolist()), torch.from_numpy(same | fits))

    def _text(self, row: int, rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
        """A text for a photo, and the facets it states; none for a title."""
        known = np.flatnonzero(self.codes[row] != UNSTATED)
        title = self.records[row].title
        if not known.size or (title and rng.random() < _TITLE_SHARE):
            return title, ()
        chosen = rng.permutation(known)[: rng.integers(1, _MOST_STATED + 1)].tolist()
        said = captions([self._change(row, facet, rng) for facet in chosen], rng)
        return " and ".join(said), tuple(chosen)

    def _change(self, row: int, facet: int, rng: np.random.Generator) -> Change:
        """The change to the photo's value, perhaps from another value of the facet."""
        new = self.records[row].attributes[self.facets[facet]]
        others = [value for value in self.values[facet] if value != new]
        contrast = bool(others) and rng.random() < _CONTRAST_SHARE
        old = others[int(rng.integers(len(others)))] if contrast else None
        return Change(self.facets[facet], old, new)
