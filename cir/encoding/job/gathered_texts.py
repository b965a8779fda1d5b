"""Encoded texts as they come."""

from collections.abc import Mapping

import numpy as np

from cir.artefacts.rows import Rows
from cir.artefacts.spool import Spool
from cir.artefacts.vectors import VectorTable
from cir.encoding.job.blocks import as_bytes, as_texts


class GatheredTexts:
    """Encoded texts as they come; their vectors go to the disk."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.texts: list[str] = []

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: slice) -> VectorTable:
        return VectorTable(tuple(self.texts[rows]), self.vectors[rows])

    def add(self, table: VectorTable) -> None:
        """Takes some texts.

        Raises:
            CirError: the disk has no room for their vectors.
        """
        self._spool.append(table.vectors)
        self.texts += table.keys

    @property
    def vectors(self) -> Rows:
        """Their vectors."""
        return self._spool.rows()


def to_arrays(table: VectorTable) -> dict[str, np.ndarray]:
    """What a block saves of some texts."""
    return {"texts": as_bytes(table.keys), "vectors": table.vectors}


def from_arrays(saved: Mapping[str, np.ndarray]) -> VectorTable:
    """What a block saved of them."""
    return VectorTable(as_texts(saved["texts"]), saved["vectors"])
