"""Parquet parts of an embedding job as an embedding store, without an encoder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import write_embeddings
from cir.artefacts.vector_parts import VectorPart, read_part
from cir.artefacts.vectors import VectorTable
from cir.errors import StoreError

_SUFFIX: Final = "*.parquet"


@dataclass(frozen=True)
class MergedParts:
    """What parts became a store."""

    parts: int
    images: int
    captions: int


@dataclass(frozen=True, eq=False)
class _Row:
    """Where the row of a photo or a text is."""

    part: VectorPart
    row: int
    folder: Path

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        vector: Float[np.ndarray, " dim"] = self.part.vectors[self.row]
        return vector

    def of(self, column: str) -> Any:
        """Its value in a column."""
        return self.part.columns[column][self.row]


def merge_parts(folders: Sequence[Path], out: Path) -> MergedParts:
    """Writes the store of all that the parts in some folders hold, in the order of ids.

    Of the rows of one id in a folder, the one of the later part counts.

    Args:
        folders: Of parts (`cir.artefacts.vector_parts`), as `cir embed` on Ray leaves them.
        out: The store to write; one that is there is replaced.

    Raises:
        StoreError: a folder holds no parts, a part is damaged, they are of several encoders, or two
            folders hold other photos under one id.
        CirError: the store cannot be written.
    """
    parts = [(folder, file, read_part(file)) for folder in folders for file in _files(folder)]
    made = _same_made([(file, part) for _, file, part in parts])
    provenance = Provenance(**{item.name: made[item.name] for item in fields(Provenance)})
    images = _rows("id", [(folder, part) for folder, _, part in parts])
    captions = _rows("text", [(folder, part) for folder, _, part in parts])
    states = [[row.of("size"), row.of("mtime_ns")] for row in images.values()]
    write_embeddings(
        out,
        images=_table(images, provenance.embed_dim),
        captions=_table(captions, provenance.embed_dim),
        image_sha256=[row.of("sha256") for row in images.values()],
        provenance=provenance,
        skipped={},
        image_states=np.array(states, np.int64).reshape(-1, 2),
        precision=made["precision"],
        libraries=made["libraries"],
    )
    return MergedParts(len(parts), len(images), len(captions))


def _rows(key: str, parts: Sequence[tuple[Path, VectorPart]]) -> dict[str, _Row]:
    """The row of each id or text, in the order of these."""
    rows: dict[str, _Row] = {}
    for folder, part in parts:
        for number, name in enumerate(part.columns.get(key, ())):
            found = _Row(part, number, folder)
            if key == "id" and name in rows:
                _require_same_photo(name, rows[name], found)
            rows[name] = found
    return {name: rows[name] for name in sorted(rows)}


def _files(folder: Path) -> Iterator[Path]:
    files = sorted(folder.glob(_SUFFIX))
    if not files:
        raise StoreError(
            f"{folder} holds no parts: expected the Parquet files that cir embed leaves where a "
            f"job of `engine='ray'` was stopped"
        )
    yield from files


def _same_made(parts: Sequence[tuple[Path, VectorPart]]) -> Mapping[str, Any]:
    """The encoder that all parts are of, and how it computed."""
    first, known = parts[0]
    for file, part in parts[1:]:
        for name in known.made.keys() - {"cir_version"}:
            if part.made.get(name) != known.made[name]:
                raise StoreError(
                    f"{file} is of {name} {part.made.get(name)}, and {first} of "
                    f"{known.made[name]}: expected parts of one encoder; move those of the other"
                )
    return known.made


def _require_same_photo(image_id: str, one: _Row, other: _Row) -> None:
    """Raises StoreError where two folders hold other photos under one id."""
    if one.folder != other.folder and one.of("sha256") != other.of("sha256"):
        raise StoreError(
            f"{one.folder} and {other.folder} hold other photos under the id {image_id!r}: "
            f"expected parts of one dataset"
        )


def _table(rows: Mapping[str, _Row], dim: int) -> VectorTable:
    vectors = np.zeros((len(rows), dim), np.float32)
    for place, row in enumerate(rows.values()):
        vectors[place] = row.vector
    return VectorTable(tuple(rows), vectors)
