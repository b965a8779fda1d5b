"""What stands where in `embeddings.h5`, and its values as they are read: each checked.

* `/images/id` (N,), `/images/embedding` (N, D) float32 as the encoder gives it, `/images/sha256`
  (N,), `/images/size` and `/images/mtime_ns` (N,) int64, by which a changed file is noticed
* `/captions/text` (M,), `/captions/embedding` (M, D) float32
* `/skipped/id` and `/skipped/reason`: the images that were left out

Texts are UTF-8; the root attributes say which encoder made the vectors, and how. A checksum of the
whole file stands behind HDF5's own end (`cir.artefacts.checksums`), where every reader of HDF5
passes it over; each table of vectors carries one of its own.
"""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from jaxtyping import Float, Int

from cir.artefacts.provenance import Provenance
from cir.artefacts.rows import Rows, blocks_of
from cir.errors import StoreError

IMAGES: Final = "images/embedding"
CAPTIONS: Final = "captions/embedding"
SCHEMA_VERSION: Final = 1
"""Version of the layout above; a reader accepts no other. Columns that earlier versions did not
write may be missing."""
CHECKSUM: Final = "sha256"
"""Attribute of a table of vectors: the SHA-256 of its bytes."""
MEND: Final = "run cir embed again"
"""How the messages of a damaged store end."""
_TEXT_ON_DISK: Final = 16
"""Bytes of a text of variable length in a column, which are where it stands."""
_MOST_COMPRESSION: Final = 1100
"""Deflate makes nothing smaller than to a 1032nd."""


def checksum_of(rows: Rows) -> str:
    """The SHA-256 of vectors as they stand in the file."""
    digest = hashlib.sha256()
    for block in blocks_of(rows):
        digest.update(as_stored(block))
    return digest.hexdigest()


def as_stored(block: Float[np.ndarray, "_ dim"]) -> memoryview:
    """The bytes of some rows, as they stand in the file."""
    return np.ascontiguousarray(block, dtype="<f4").data


def require_checksum(file: Any, name: str, vectors: Rows) -> None:
    """Raises ValueError where vectors are not those that their checksum was made of."""
    expected = file[name].attrs.get(CHECKSUM)
    if expected is not None and expected != checksum_of(vectors):
        raise ValueError(f"the vectors of /{name} do not agree with their checksum")


class StoreFields:
    """The fields of an open store, each checked as it is read."""

    def __init__(self, file: Any, path: Path) -> None:
        """Requires that this version of cir reads the store.

        Args:
            file: The open file of HDF5.
            path: Where it lies, for messages.

        Raises:
            StoreError: it is of another schema, or its vectors are normalised.
        """
        self._file, self._path = file, path
        version = self._attribute("schema_version")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {MEND} with this "
                f"cir"
            )
        if bool(self._attribute("normalized")):
            raise StoreError(
                f"{path} holds normalised vectors, expected the encoder's output: {MEND}"
            )

    def provenance(self) -> Provenance:
        """The encoder that made the vectors."""
        values = {field.name: self._attribute(field.name) for field in fields(Provenance)}
        return Provenance(**values | {"embed_dim": int(values["embed_dim"])})

    def precision(self) -> str | None:
        """Of the arithmetic that made them; None where it is not recorded."""
        recorded = "precision" in self._file.attrs
        return str(self._attribute("precision")) if recorded else None

    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that made them, by name."""
        held = json.loads(self._file.attrs.get("libraries", "{}"))
        return {str(name): str(version) for name, version in dict(held).items()}

    def texts(self, name: str) -> tuple[str, ...]:
        """A column of texts, of variable or fixed length."""
        column = self._dataset(name)
        if column.ndim != 1 or h5py.check_string_dtype(column.dtype) is None:
            raise StoreError(f"{self._path}: /{name} is no column of texts: {MEND}")
        return tuple(column.asstr("utf-8")[:].tolist())

    def require_each_once(self, name: str, texts: tuple[str, ...]) -> None:
        """Requires that no key of a column stands in it twice."""
        if len(set(texts)) != len(texts):
            raise StoreError(f"{self._path}: /{name} names a row twice: {MEND}")

    def digests(self, count: int) -> tuple[str, ...]:
        """The SHA-256 of each of `count` image files."""
        digests = self.texts("images/sha256")
        self._require_rows("images/sha256", len(digests), count)
        return digests

    def vectors(self, name: str, expected: tuple[int, int]) -> Any:
        """The dataset of some vectors, of which the file has as many as it says."""
        rows = self._dataset(name)
        if rows.shape != expected or rows.dtype != np.float32:
            raise StoreError(
                f"{self._path}: /{name} is {rows.shape} {rows.dtype}, expected {expected} float32: "
                f"{MEND}"
            )
        return rows

    def image_states(self, count: int) -> Int[np.ndarray, "images 2"] | None:
        """Sizes and times of change; None in a store of a version that did not record them."""
        if "images/size" not in self._file or "images/mtime_ns" not in self._file:
            return None
        columns = []
        for name in ("images/size", "images/mtime_ns"):
            column = self._dataset(name)
            self._require_rows(name, len(column), count)
            columns.append(column[:].astype(np.int64))
        return np.stack(columns, axis=1)

    def _attribute(self, name: str) -> Any:
        if name not in self._file.attrs:
            raise StoreError(
                f"{self._path} lacks the attribute {name}: it is no store of cir; move it away and "
                f"run cir embed, or embed to another file"
            )
        value = self._file.attrs[name]
        return value.decode("utf-8") if isinstance(value, bytes) else value

    def _dataset(self, name: str) -> Any:
        """A dataset that is no larger than the file can hold."""
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise StoreError(
                f"{self._path} lacks /{name}: it is cut off or no store of cir; {MEND}"
            )
        one = _TEXT_ON_DISK if dataset.dtype.kind == "O" else dataset.dtype.itemsize
        most = self._file.id.get_filesize() * (_MOST_COMPRESSION if dataset.compression else 1)
        if dataset.size * one > most:
            raise StoreError(
                f"{self._path}: /{name} says that it holds {dataset.size:,} values, more than the "
                f"file has bytes for: {MEND}"
            )
        return dataset

    def _require_rows(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            raise StoreError(
                f"{self._path}: /{name} holds {found} rows, expected {expected}: {MEND}"
            )
