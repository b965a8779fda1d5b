"""The embedding store, `embeddings.h5`: the only module that knows HDF5.

It holds N images, M captions and vectors of D components:

* `/images/id` (N,), `/images/embedding` (N, D) float32 as the encoder gives it, `/images/sha256`
  (N,), `/images/size` and `/images/mtime_ns` (N,) int64, by which a changed file is noticed
* `/captions/text` (M,), `/captions/embedding` (M, D) float32
* `/skipped/id` and `/skipped/reason`: the images that were left out

Texts are UTF-8; the root attributes say which encoder made the vectors, and how. A checksum of the
whole file stands behind HDF5's own end (`cir.artefacts.checksums`), where every reader of HDF5
passes it over; each table of vectors carries one of its own.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from jaxtyping import Float, Float32, Int

from cir import __version__
from cir.artefacts import checksums, hdf5_trial
from cir.artefacts.file_rows import FileRows
from cir.artefacts.provenance import Provenance
from cir.artefacts.rows import KeyedRows, Rows, blocks_of
from cir.artefacts.sparse_file import SparseFile
from cir.artefacts.vectors import VectorTable, require_directions
from cir.disk.files import require_file, unreadable, written_aside
from cir.errors import CirError, StoreError, is_of_the_system

_IMAGES: Final = "images/embedding"
_CAPTIONS: Final = "captions/embedding"
_Take = Callable[[Any], Rows]
"""Gives the vectors of a dataset of HDF5."""
SCHEMA_VERSION = 1
"""Version of the layout above; a reader accepts no other. Columns that earlier versions did not
write may be missing."""

MEND: Final = "run cir embed again"
"""How the messages of a damaged store end."""
_DAMAGED: Final = f"is damaged or no HDF5 file ({{}}): {MEND}"
_CHECKSUM: Final = "sha256"
"""Attribute of a table of vectors: the SHA-256 of its bytes."""
_TEXT_ON_DISK: Final = 16
"""Bytes of a text of variable length in a column, which are where it stands."""
_MOST_COMPRESSION: Final = 1100
"""Deflate makes nothing smaller than to a 1032nd."""
_UNVERIFIED: Final = checksums.Digest("", sealed=True)
"""Stands for the digest of a file that another process has verified."""


@dataclass(frozen=True, eq=False)
class StoredEmbeddings:
    """What an embedding store holds; its vectors may be in the file alone."""

    images: KeyedRows
    """(N, D) float32 vectors by image id, not normalised."""
    captions: KeyedRows
    """(M, D) float32 vectors by text, not normalised; M = 0 for a dataset without captions."""
    image_sha256: tuple[str, ...]
    """SHA-256 of each image file, in the order of `images`."""
    provenance: Provenance
    skipped: Mapping[str, str]
    """Images left out, with the reason."""
    path: Path
    sha256: str
    """SHA-256 of the store's file: what a manifest remembers it by."""
    image_states: Int[np.ndarray, "images 2"] | None = None
    """Size in bytes and time of change in nanoseconds of each image file; None where the store is
    of a version that did not record them."""
    precision: str | None = None
    """fp32, tf32, bf16 or fp16; several joined by `+` where rows of several were mixed on request;
    None where the store is of a version that did not record it."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that made the vectors, by name."""


@dataclass(frozen=True, eq=False)
class Embeddings(StoredEmbeddings):
    """The same with vectors as arrays, in memory or mapped into it."""

    images: VectorTable
    captions: VectorTable


def write_embeddings(
    path: Path,
    *,
    images: KeyedRows,
    captions: KeyedRows,
    image_sha256: Sequence[str],
    provenance: Provenance,
    skipped: Mapping[str, str],
    image_states: Int[np.ndarray, "images 2"] | None = None,
    precision: str | None = None,
    libraries: Mapping[str, str] | None = None,
) -> None:
    """Writes a store aside and moves it to `path`; vectors are read a block of rows at a time.

    Args:
        path: The HDF5 file; one that stands there is replaced.
        images: (N, D) vectors by image id, as the encoder gives them; written as float32.
        captions: (M, D) vectors by text, likewise.
        image_sha256: SHA-256 of each image file, in the order of `images`.
        provenance: The encoder that made the vectors; `embed_dim` is D.
        skipped: Images that were left out, with the reason.
        image_states: Size and time of change of each image file; None where they are not known.
        precision: Of the arithmetic that made the vectors; None where it is not known.
        libraries: Versions of the libraries that made them, by name.

    Raises:
        VectorError: a vector is NaN, infinite or all zero.
        StoreError: the numbers of vectors, digests and components do not agree.
        CirError: the file cannot be written.
    """
    _require_shapes(images, captions, image_sha256, image_states, provenance)
    for table, what in ((images, "images"), (captions, "captions")):
        require_directions(table.vectors, what)
    columns = {
        "images/id": images.keys,
        "images/sha256": image_sha256,
        "captions/text": captions.keys,
        "skipped/id": tuple(skipped),
        "skipped/reason": tuple(skipped.values()),
    }
    states = {} if image_states is None else _columns_of(image_states)
    attributes = asdict(provenance) | {
        "schema_version": SCHEMA_VERSION,
        "normalized": False,
        "cir_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if precision is not None:
        attributes["precision"] = precision
    if libraries:
        attributes["libraries"] = json.dumps(dict(libraries), sort_keys=True)
    vectors = {_IMAGES: images.vectors, _CAPTIONS: captions.vectors}
    with written_aside(path) as aside, aside.open("w+b") as file:
        _write(file, attributes, columns, states, vectors)


def read_embeddings(path: Path | str) -> Embeddings:
    """Reads a whole store and checks everything that can be checked without the encoder.

    All of it comes from one open file, whatever is put in its place meanwhile.

    Raises:
        StoreError: the file is missing, damaged, of another schema, or at odds with itself.
        VectorError: a vector is NaN, infinite or all zero.
    """
    path = Path(path)
    with _opened(path) as (file, digest, _):
        stored = _read(file, path, digest.sha256, _whole)
        _require_sound(file, stored, digest)
    return _as_arrays(stored)


def read_images(path: Path) -> Embeddings:
    """As `read_embeddings`, without the captions, which whoever searches images has no need of.

    The checksum of the whole file is compared all the same.
    """
    with _opened(path) as (file, digest, _):
        stored = _read(file, path, digest.sha256, _whole, captions=False)
        _require_sound(file, stored, digest)
    return _as_arrays(stored)


def map_embeddings(path: Path | str, *, verify: bool = True) -> Embeddings:
    """As `read_embeddings`, with vectors that stay in the file and are read where they are used.

    Args:
        path: The store.
        verify: Whether to compare the checksum of the whole file, which reads all of it once; leave
            it out where another process has just done so.

    Raises:
        StoreError: as of `read_embeddings`.
    """
    path = Path(path)
    with _opened(path, verify=verify) as (file, digest, opened):
        stored = _read(file, path, digest.sha256, partial(_mapped, opened))
        if verify:
            _require_sound(file, stored, digest)
    return _as_arrays(stored)


def open_embeddings(path: Path) -> StoredEmbeddings:
    """As `read_embeddings`, with vectors that stay in the file, for whoever reads each but once.

    They come from the file that was opened, whatever is put in its place meanwhile.
    """
    with _opened(path) as (file, digest, opened):
        stored = _read(file, path, digest.sha256, partial(_in_file, opened))
        _require_sound(file, stored, digest)
    return stored


def try_to_read() -> None:
    """Reads the store on standard input and tells nothing, but for ending (`hdf5_trial`)."""
    file = sys.stdin.buffer
    hdf5_trial.limit_memory(os.fstat(file.fileno()).st_size)
    try:
        with h5py.File(file, "r") as store:
            _read(store, Path(), "", _whole)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the parent meets it again, and tells it
        return


# --------------------------------------------------------------------------------- writing


def _require_shapes(
    images: KeyedRows,
    captions: KeyedRows,
    digests: Sequence[str],
    states: Int[np.ndarray, "images 2"] | None,
    provenance: Provenance,
) -> None:
    """Raises StoreError where a reader would not accept what is about to be written."""
    if len(digests) != len(images.keys):
        raise StoreError(
            f"`image_sha256` holds {len(digests)} digests; expected one of each of "
            f"{len(images.keys)} images"
        )
    if states is not None and states.shape != (len(images.keys), 2):
        raise StoreError(
            f"`image_states` has shape {states.shape}; expected ({len(images.keys)}, 2): size and "
            f"time of change of each image"
        )
    for table, what in ((images, "images"), (captions, "captions")):
        if len(set(table.keys)) != len(table.keys):
            raise StoreError(f"`{what}` name a row twice; expected every key once")
        if table.vectors.shape[1] != provenance.embed_dim:
            raise StoreError(
                f"`{what}` are {table.vectors.shape[1]}-d vectors; {provenance.model} gives "
                f"{provenance.embed_dim}-d ones"
            )


def _columns_of(states: Int[np.ndarray, "images 2"]) -> dict[str, Int[np.ndarray, " images"]]:
    return {"images/size": states[:, 0], "images/mtime_ns": states[:, 1]}


def _write(
    file: BufferedIOBase,
    attributes: Mapping[str, Any],
    columns: Mapping[str, Sequence[str]],
    states: Mapping[str, Int[np.ndarray, " images"]],
    vectors: Mapping[str, Rows],
) -> None:
    """Writes a store into an open, empty file.

    HDF5 writes into memory, because it crashes where the disk is full; the vectors, which take
    most of the file, go straight to where HDF5 left room for them.
    """
    frame = SparseFile()
    with h5py.File(frame, "w") as store:
        store.attrs.update(attributes)
        for name, texts in columns.items():
            store.create_dataset(name, data=list(texts), dtype=h5py.string_dtype("utf-8"))
        for name, numbers in states.items():
            store.create_dataset(name, data=numbers, dtype=np.int64)
        places = {name: _room_for(store, name, rows) for name, rows in vectors.items()}
    file.truncate(frame.length)
    for start, page in frame.pages():
        file.seek(start)
        file.write(page)
    for name, rows in vectors.items():
        file.seek(places[name])
        for block in blocks_of(rows):
            file.write(_as_stored(block))
    file.seek(frame.length)
    file.write(checksums.PLACE)
    checksums.seal(file)


def _room_for(store: Any, name: str, rows: Rows) -> int:
    """Makes a dataset for vectors, which are not written; where they belong in the file."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dataset = store.create_dataset(name, shape=rows.shape, dtype="<f4", dcpl=how)
    dataset.attrs[_CHECKSUM] = _checksum(rows)
    return int(dataset.id.get_offset() or 0)


def _checksum(rows: Rows) -> str:
    digest = hashlib.sha256()
    for block in blocks_of(rows):
        digest.update(_as_stored(block))
    return digest.hexdigest()


def _as_stored(block: Float[np.ndarray, "_ dim"]) -> memoryview:
    """The bytes of some rows, as they stand in the file."""
    return np.ascontiguousarray(block, dtype="<f4").data


# --------------------------------------------------------------------------------- reading


@contextmanager
def _opened(
    path: Path, *, verify: bool = True
) -> Iterator[tuple[Any, checksums.Digest, BufferedReader]]:
    """Opens a store that is safe to read, with what identifies its bytes, and the open file.

    Raises:
        StoreError: it is missing, damaged, or what the block raises because of its content.
    """
    require_file(path, StoreError, f"no embedding store at {path}: make it with cir embed")
    try:
        with path.open("rb") as file:
            digest = checksums.verified(file) if verify else _UNVERIFIED
            if not digest.sealed:
                hdf5_trial.require_length(file)
                hdf5_trial.require_harmless(file)
            with h5py.File(file, "r") as store:
                yield store, digest, file
    except (CirError, MemoryError):
        raise
    except Exception as fault:
        # Of a file that is not as it was written HDF5 and h5py raise whatever they meet.
        raise StoreError(_unreadable(path, fault)) from fault


def _unreadable(path: Path, fault: Exception) -> str:
    if not is_of_the_system(fault) and _is_being_written(path):
        return f"{path} is open for writing in another process: wait until that ends"
    return unreadable(path, fault, _DAMAGED)


def _is_being_written(path: Path) -> bool:
    """Whether another process holds the lock that HDF5 takes on what it writes."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(
    file: Any, path: Path, sha256: str, take: _Take, *, captions: bool = True
) -> StoredEmbeddings:
    """All of an open store, with vectors as `take` gives those of a dataset."""
    _require_schema(file, path)
    provenance = _provenance(file, path)
    skipped = zip(
        _texts(file, "skipped/id", path), _texts(file, "skipped/reason", path), strict=False
    )
    images = _table(file, "images/id", _IMAGES, provenance, path, take)
    digests = _texts(file, "images/sha256", path)
    _require_rows("images/sha256", len(digests), len(images.keys), path)
    return StoredEmbeddings(
        images=images,
        captions=_table(file, "captions/text", _CAPTIONS, provenance, path, take)
        if captions
        else KeyedRows((), np.zeros((0, provenance.embed_dim), np.float32)),
        image_sha256=digests,
        provenance=provenance,
        skipped=dict(skipped),
        path=path,
        sha256=sha256,
        image_states=_states(file, len(images.keys), path),
        precision=_precision(file, path),
        libraries=_libraries(file),
    )


def _whole(rows: Any) -> Float32[np.ndarray, "rows dim"]:
    """A dataset's vectors, read into memory."""
    read: Float32[np.ndarray, "rows dim"] = rows[:]
    return read


def _mapped(opened: BufferedReader, rows: Any) -> Float32[np.ndarray, "rows dim"]:
    """The same, mapped where they stand in the open file in one piece."""
    place = rows.id.get_offset()
    if place is None or not len(rows):
        return _whole(rows)
    return np.memmap(opened, np.dtype("<f4"), "r", offset=place, shape=rows.shape)


def _in_file(opened: BufferedReader, rows: Any) -> Rows:
    """The same, left in the open file where they stand there in one piece."""
    place = rows.id.get_offset()
    if place is None or not len(rows):
        return _whole(rows)
    return FileRows(opened.fileno(), place, rows.shape)


def _as_arrays(stored: StoredEmbeddings) -> Embeddings:
    """A store that was read by `_whole` or `_mapped`."""
    tables = {
        name: VectorTable(table.keys, np.asanyarray(table.vectors))
        for name, table in (("images", stored.images), ("captions", stored.captions))
    }
    return Embeddings(**vars(stored) | tables)


def _require_sound(file: Any, stored: StoredEmbeddings, digest: checksums.Digest) -> None:
    """Raises VectorError or ValueError where vectors are not what somebody wrote."""
    for name, table in ((_IMAGES, stored.images), (_CAPTIONS, stored.captions)):
        require_directions(table.vectors, f"{stored.path} ({name.partition('/')[0]})")
        if not digest.sealed and len(table.vectors):
            _require_checksum(file, name, table.vectors)


def _require_schema(file: Any, path: Path) -> None:
    version = _attribute(file, "schema_version", path)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {MEND} with this cir"
        )
    if bool(_attribute(file, "normalized", path)):
        raise StoreError(f"{path} holds normalised vectors, expected the encoder's output: {MEND}")


def _provenance(file: Any, path: Path) -> Provenance:
    values = {field.name: _attribute(file, field.name, path) for field in fields(Provenance)}
    return Provenance(**values | {"embed_dim": int(values["embed_dim"])})


def _precision(file: Any, path: Path) -> str | None:
    return str(_attribute(file, "precision", path)) if "precision" in file.attrs else None


def _libraries(file: Any) -> dict[str, str]:
    held = json.loads(file.attrs.get("libraries", "{}"))
    return {str(name): str(version) for name, version in dict(held).items()}


def _attribute(file: Any, name: str, path: Path) -> Any:
    if name not in file.attrs:
        raise StoreError(f"{path} lacks the attribute {name}: it is no store of cir; {MEND}")
    value = file.attrs[name]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _table(
    file: Any, keys: str, vectors: str, provenance: Provenance, path: Path, take: _Take
) -> KeyedRows:
    """The vectors of one group by key; each key once, each vector of the encoder's width."""
    texts = _texts(file, keys, path)
    rows = _vectors(file, vectors, (len(texts), provenance.embed_dim), path)
    if len(set(texts)) != len(texts):
        raise StoreError(f"{path}: /{keys} names a row twice: {MEND}")
    return KeyedRows(texts, take(rows))


def _vectors(file: Any, name: str, expected: tuple[int, int], path: Path) -> Any:
    """The dataset of some vectors, of which the file has as many as it says."""
    rows = _dataset(file, name, path)
    if rows.shape != expected or rows.dtype != np.float32:
        raise StoreError(
            f"{path}: /{name} is {rows.shape} {rows.dtype}, expected {expected} float32: {MEND}"
        )
    return rows


def _states(file: Any, count: int, path: Path) -> Int[np.ndarray, "images 2"] | None:
    """Sizes and times of change; None in a store of a version that did not record them."""
    if "images/size" not in file or "images/mtime_ns" not in file:
        return None
    columns = []
    for name in ("images/size", "images/mtime_ns"):
        column = _dataset(file, name, path)
        _require_rows(name, len(column), count, path)
        columns.append(column[:].astype(np.int64))
    return np.stack(columns, axis=1)


def _require_rows(name: str, found: int, expected: int, path: Path) -> None:
    if found != expected:
        raise StoreError(f"{path}: /{name} holds {found} rows, expected {expected}: {MEND}")


def _texts(file: Any, name: str, path: Path) -> tuple[str, ...]:
    """A column of texts, of variable or fixed length."""
    column = _dataset(file, name, path)
    if column.ndim != 1 or h5py.check_string_dtype(column.dtype) is None:
        raise StoreError(f"{path}: /{name} is no column of texts: {MEND}")
    return tuple(column.asstr("utf-8")[:].tolist())


def _dataset(file: Any, name: str, path: Path) -> Any:
    """A dataset that is no larger than the file can hold."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise StoreError(f"{path} lacks /{name}: it is cut off or no store of cir; {MEND}")
    one = _TEXT_ON_DISK if dataset.dtype.kind == "O" else dataset.dtype.itemsize
    most = file.id.get_filesize() * (_MOST_COMPRESSION if dataset.compression else 1)
    if dataset.size * one > most:
        raise StoreError(
            f"{path}: /{name} says that it holds {dataset.size:,} values, more than the file has "
            f"bytes for: {MEND}"
        )
    return dataset


def _require_checksum(file: Any, name: str, vectors: Rows) -> None:
    """Raises ValueError where vectors are not those that their checksum was made of."""
    expected = file[name].attrs.get(_CHECKSUM)
    if expected is not None and expected != _checksum(vectors):
        raise ValueError(f"the vectors of /{name} do not agree with their checksum")
