"""The embedding store, `embeddings.h5`: the only module that knows HDF5.

It holds N images, M captions and vectors of D components:

* `/images/id` (N,), `/images/embedding` (N, D) float32 as the encoder gives it, `/images/sha256`
  (N,)
* `/captions/text` (M,), `/captions/embedding` (M, D) float32
* `/skipped/id` and `/skipped/reason`: the images that were left out

Texts are UTF-8; the root attributes say which encoder made the vectors.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from jaxtyping import Float

from cir import __version__
from cir.artefacts.provenance import Provenance
from cir.artefacts.vectors import VectorTable, require_directions
from cir.errors import StoreError
from cir.files import require_file, sha256_of, unreadable, written_aside

SCHEMA_VERSION = 1
"""Version of the layout above; a reader accepts no other."""

_MEND: Final = "run cir embed again"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What an embedding store holds."""

    images: VectorTable
    """(N, D) float32 vectors by image id, not normalised."""
    captions: VectorTable
    """(M, D) float32 vectors by text, not normalised; M = 0 for a dataset without captions."""
    image_sha256: tuple[str, ...]
    """SHA-256 of each image file, in the order of `images`."""
    provenance: Provenance
    skipped: Mapping[str, str]
    """Images left out, with the reason."""
    path: Path
    sha256: str
    """SHA-256 of the store's file: what a manifest remembers it by."""


def write_embeddings(
    path: Path,
    *,
    images: VectorTable,
    captions: VectorTable,
    image_sha256: Sequence[str],
    provenance: Provenance,
    skipped: Mapping[str, str],
) -> None:
    """Writes a store aside and moves it to `path`.

    Args:
        path: The HDF5 file; one that stands there is replaced.
        images: (N, D) vectors by image id, as the encoder gives them; written as float32.
        captions: (M, D) vectors by text, likewise.
        image_sha256: SHA-256 of each image file, in the order of `images`.
        provenance: The encoder that made the vectors; `embed_dim` is D.
        skipped: Images that were left out, with the reason.

    Raises:
        VectorError: a vector is NaN, infinite or all zero.
        StoreError: the numbers of vectors, digests and components do not agree.
        CirError: the file cannot be written.
    """
    _require_shapes(images, captions, image_sha256, provenance)
    for table, what in ((images, "images"), (captions, "captions")):
        require_directions(table.vectors, what)
    texts = {
        "images/id": images.keys,
        "images/sha256": image_sha256,
        "captions/text": captions.keys,
        "skipped/id": tuple(skipped),
        "skipped/reason": tuple(skipped.values()),
    }
    vectors = {"images/embedding": images.vectors, "captions/embedding": captions.vectors}
    with written_aside(path) as aside:
        aside.write_bytes(_serialised(texts, vectors, provenance))


def read_embeddings(path: Path) -> Embeddings:
    """Reads a whole store and checks everything that can be checked without the encoder.

    Raises:
        StoreError: the file is missing, damaged, of another schema, or at odds with itself.
        VectorError: a vector is NaN, infinite or all zero.
    """
    require_file(path, StoreError, f"no embedding store at {path}: make it with cir embed")
    try:
        with h5py.File(path, "r") as file:
            embeddings = _read(file, path)
    except (OSError, RuntimeError, UnicodeDecodeError) as fault:
        damaged = f"is damaged or no HDF5 file ({{}}): {_MEND}"
        raise StoreError(unreadable(path, fault, damaged)) from fault
    for table, what in ((embeddings.images, "images"), (embeddings.captions, "captions")):
        require_directions(table.vectors, f"{path} ({what})")
    return embeddings


def _require_shapes(
    images: VectorTable, captions: VectorTable, digests: Sequence[str], provenance: Provenance
) -> None:
    """Raises StoreError where a reader would not accept what is about to be written."""
    if len(digests) != len(images.keys):
        raise StoreError(
            f"`image_sha256` holds {len(digests)} digests; expected one of each of "
            f"{len(images.keys)} images"
        )
    for table, what in ((images, "images"), (captions, "captions")):
        if table.vectors.shape[1] != provenance.embed_dim:
            raise StoreError(
                f"`{what}` are {table.vectors.shape[1]}-d vectors; {provenance.model} gives "
                f"{provenance.embed_dim}-d ones"
            )


def _serialised(
    texts: Mapping[str, Sequence[str]],
    vectors: Mapping[str, Float[np.ndarray, "..."]],
    provenance: Provenance,
) -> memoryview:
    """The file's bytes, made in memory because HDF5 itself crashes where the disk is full."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(asdict(provenance))
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["normalized"] = False
        file.attrs["cir_version"] = __version__
        file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        for name, values in texts.items():
            file.create_dataset(name, data=list(values), dtype=h5py.string_dtype("utf-8"))
        for name, rows in vectors.items():
            file.create_dataset(name, data=rows, dtype=np.float32)
    return buffer.getbuffer()


def _read(file: Any, path: Path) -> Embeddings:
    _require_schema(file, path)
    provenance = _provenance(file, path)
    skipped = zip(
        _texts(file, "skipped/id", path), _texts(file, "skipped/reason", path), strict=False
    )
    images = _table(file, "images/id", "images/embedding", provenance, path)
    digests = _texts(file, "images/sha256", path)
    if len(digests) != len(images.keys):
        raise StoreError(
            f"{path}: /images/sha256 holds {len(digests)} rows, "
            f"expected {len(images.keys)}: {_MEND}"
        )
    return Embeddings(
        images=images,
        captions=_table(file, "captions/text", "captions/embedding", provenance, path),
        image_sha256=digests,
        provenance=provenance,
        skipped=dict(skipped),
        path=path,
        sha256=sha256_of(path),
    )


def _require_schema(file: Any, path: Path) -> None:
    version = _attribute(file, "schema_version", path)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {_MEND} with this cir"
        )
    if bool(_attribute(file, "normalized", path)):
        raise StoreError(f"{path} holds normalised vectors, expected the encoder's output: {_MEND}")


def _provenance(file: Any, path: Path) -> Provenance:
    values = {field.name: _attribute(file, field.name, path) for field in fields(Provenance)}
    return Provenance(**values | {"embed_dim": int(values["embed_dim"])})


def _attribute(file: Any, name: str, path: Path) -> Any:
    if name not in file.attrs:
        raise StoreError(f"{path} lacks the attribute {name}: it is no store of cir; {_MEND}")
    value = file.attrs[name]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _table(file: Any, keys: str, vectors: str, provenance: Provenance, path: Path) -> VectorTable:
    """The vectors of one group by key; each key once, each vector of the encoder's width."""
    texts = _texts(file, keys, path)
    rows = _dataset(file, vectors, path)
    expected = (len(texts), provenance.embed_dim)
    if rows.shape != expected or rows.dtype != np.float32:
        raise StoreError(
            f"{path}: /{vectors} is {rows.shape} {rows.dtype}, expected {expected} float32: {_MEND}"
        )
    if len(set(texts)) != len(texts):
        raise StoreError(f"{path}: /{keys} names a row twice: {_MEND}")
    return VectorTable(texts, rows[:])


def _texts(file: Any, name: str, path: Path) -> tuple[str, ...]:
    """A column of texts, of variable or fixed length."""
    column = _dataset(file, name, path)
    if column.ndim != 1 or h5py.check_string_dtype(column.dtype) is None:
        raise StoreError(f"{path}: /{name} is no column of texts: {_MEND}")
    return tuple(column.asstr("utf-8")[:].tolist())


def _dataset(file: Any, name: str, path: Path) -> Any:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise StoreError(f"{path} lacks /{name}: it is cut off or no store of cir; {_MEND}")
    return dataset
