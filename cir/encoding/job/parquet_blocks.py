"""Blocks of vectors as Parquet, which other programs read while a long job goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cir.artefacts.vector_parts import VectorPart, read_part, write_part
from cir.encoding.job.blocks import Blocks, as_bytes, as_texts
from cir.errors import StoreError

_TEXTS: Final = {"ids": "id", "texts": "text", "sha256": "sha256"}
"""The column of each array of texts."""
_STATES: Final = ("size", "mtime_ns")


class ParquetBlocks(Blocks):
    """The blocks of one unfinished output as parts (`cir.artefacts.vector_parts`)."""

    SUFFIX = ".parquet"

    def __init__(self, out: Path, made: Mapping[str, Any]) -> None:
        """Opens the folder beside an output.

        Args:
            out: The output.
            made: The encoder and how it computes, for the parts' metadata.
        """
        super().__init__(out)
        self._made = made

    def save(self, key: str, batches: Sequence[Mapping[str, np.ndarray]]) -> None:
        columns: dict[str, list[Any]] = {}
        for batch in batches:
            for name, values in _columns(batch).items():
                columns.setdefault(name, []).extend(values)
        vectors = np.concatenate([batch["vectors"] for batch in batches])
        write_part(self._next_file(key), VectorPart(columns, vectors, self._made))


def read_block(file: Path) -> list[dict[str, np.ndarray]]:
    """The rows of a part as a batch; none where it is not as it was saved."""
    try:
        return [_arrays(read_part(file))]
    except StoreError:
        return []


def _columns(batch: Mapping[str, np.ndarray]) -> dict[str, Sequence[Any]]:
    texts = {_TEXTS[name]: as_texts(batch[name]) for name in _TEXTS if name in batch}
    states = zip(_STATES, batch["states"].T.tolist(), strict=True) if "states" in batch else ()
    return {**texts, **dict(states)}


def _arrays(part: VectorPart) -> dict[str, np.ndarray]:
    arrays = {n: as_bytes(part.columns[c]) for n, c in _TEXTS.items() if c in part.columns}
    if _STATES[0] in part.columns:
        states = [part.columns[name] for name in _STATES]
        arrays["states"] = np.array(states, np.int64).T.reshape(-1, 2)
    return arrays | {"vectors": part.vectors}
