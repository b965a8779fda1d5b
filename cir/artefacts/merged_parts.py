"""Parquet parts of an embedding job as an embedding store, without an encoder.

Memory holds one part at a time: vectors go to the disk as they come, and ids, digests and places
stay.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from cir.artefacts.gathered_rows import GatheredRows
from cir.artefacts.provenance import Provenance
from cir.artefacts.rows import KeyedRows
from cir.artefacts.spool import Spool
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vector_parts import VectorPart, read_part
from cir.errors import StoreError

_SUFFIX: Final = "*.parquet"
_PHOTO: Final = "id", "size", "mtime_ns", "sha256"
"""Columns of photos."""


@dataclass(frozen=True)
class MergedParts:
    """What parts became a store."""

    parts: int
    images: int
    captions: int


class _Photo(NamedTuple):
    """What is known of a photo."""

    row: int
    """Its vector among all that were gathered."""
    size: int
    mtime_ns: int
    sha256: str
    folder: Path
    """Of the part."""


def merge_parts(folders: Sequence[Path], out: Path) -> MergedParts:
    """Writes the store of all that the parts in some folders hold, in the order of ids.

    Of the rows of one id in a folder, the one of the later part counts.

    Args:
        folders: Of parts (`cir.artefacts.vector_parts`), as `cir embed` on Ray leaves them.
        out: The store to write; one that is there is replaced. Until it is there, its folder holds
            the vectors twice.

    Raises:
        StoreError: a folder holds no parts, a part is damaged, they are of several encoders, or two
            folders hold other photos under one id.
        CirError: the store cannot be written.
    """
    (folder, first), *rest = ((folder, file) for folder in folders for file in _files(folder))
    gathered = _Gathered(first, read_part(first), folder, out.parent)
    for folder, file in rest:
        gathered.add(folder, file, read_part(file))
    gathered.write(out)
    return MergedParts(1 + len(rest), len(gathered.photos), len(gathered.texts))


def _files(folder: Path) -> Iterator[Path]:
    files = sorted(folder.glob(_SUFFIX))
    if not files:
        raise StoreError(
            f"{folder} holds no parts: expected the Parquet files that cir embed leaves where a "
            f"job of `engine='ray'` was stopped"
        )
    yield from files


class _Gathered:
    """The rows of the parts so far."""

    def __init__(self, file: Path, first: VectorPart, folder: Path, waiting: Path) -> None:
        """Begins with the part whose encoder all others must be of.

        Args:
            file: Its file.
            first: The part.
            folder: Where it lies.
            waiting: Where vectors wait.
        """
        self._first, self._made = file, first.made
        self._provenance = Provenance(**{it.name: self._made[it.name] for it in fields(Provenance)})
        self._spool, self._count = Spool(waiting, self._provenance.embed_dim), 0
        self.photos: dict[str, _Photo] = {}
        self.texts: dict[str, int] = {}
        self.add(folder, file, first)

    def add(self, folder: Path, file: Path, part: VectorPart) -> None:
        """Takes the rows of a part that lies in a folder."""
        self._require_same_encoder(file, part)
        columns = (part.columns.get(name, ()) for name in _PHOTO)
        known = zip(*columns, strict=True)
        for row, (image_id, size, mtime_ns, sha256) in enumerate(known, self._count):
            photo = _Photo(row, size, mtime_ns, sha256, folder)
            self._require_same_photo(image_id, photo)
            self.photos[image_id] = photo
        for row, text in enumerate(part.columns.get("text", ()), self._count):
            self.texts[text] = row
        self._spool.append(part.vectors)
        self._count += len(part.vectors)

    def write(self, out: Path) -> None:
        """Writes the store."""
        ids = sorted(self.photos)
        photos, texts = [self.photos[image_id] for image_id in ids], sorted(self.texts)
        states = [(photo.size, photo.mtime_ns) for photo in photos]
        write_embeddings(
            out,
            images=self._table(ids, (photo.row for photo in photos)),
            captions=self._table(texts, (self.texts[text] for text in texts)),
            image_sha256=[photo.sha256 for photo in photos],
            provenance=self._provenance,
            skipped={},
            image_states=np.array(states, np.int64).reshape(-1, 2),
            precision=self._made["precision"],
            libraries=self._made["libraries"],
        )

    def _table(self, keys: Sequence[str], rows: Iterable[int]) -> KeyedRows:
        chosen = np.fromiter(rows, np.int64, len(keys))
        tables = [self._spool.rows()]
        return KeyedRows(tuple(keys), GatheredRows(tables, chosen, self._provenance.embed_dim))

    def _require_same_encoder(self, file: Path, part: VectorPart) -> None:
        known: Mapping[str, Any] = self._made
        for name in known.keys() - {"cir_version"}:
            if part.made.get(name) != known[name]:
                raise StoreError(
                    f"{file} is of {name} {part.made.get(name)}, and {self._first} of "
                    f"{known[name]}: expected parts of one encoder; move those of the other"
                )
        dim = self._provenance.embed_dim
        if part.vectors.shape[1] != dim:
            raise StoreError(
                f"{file} holds vectors of {part.vectors.shape[1]} components; expected {dim}, as "
                f"its encoder gives them: move it away"
            )

    def _require_same_photo(self, image_id: str, found: _Photo) -> None:
        """Raises StoreError where two folders hold other photos under one id."""
        known = self.photos.get(image_id, found)
        if known.folder != found.folder and known.sha256 != found.sha256:
            raise StoreError(
                f"{known.folder} and {found.folder} hold other photos under the id {image_id!r}: "
                f"expected parts of one dataset"
            )
