"""The embedding store, `embeddings.h5`, as it is read: whole, mapped into memory, or left on disk.

It holds the vectors of images and captions, and says which encoder made them, and how.
`cir.artefacts.store_layout` says what stands where in it, `cir.artefacts.store_writing` writes it.
"""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from jaxtyping import Float32, Int

from cir.artefacts import checksums, hdf5_trial
from cir.artefacts.file_rows import FileRows
from cir.artefacts.provenance import Provenance
from cir.artefacts.rows import KeyedRows, Rows
from cir.artefacts.store_layout import CAPTIONS, IMAGES, MEND, StoreFields, require_checksum
from cir.artefacts.vectors import VectorTable, require_directions
from cir.disk.files import require_file, unreadable
from cir.errors import CirError, StoreError, is_of_the_system

_Take = Callable[[Any], Rows]
"""Gives the vectors of a dataset of HDF5."""
_DAMAGED: Final = f"is damaged or no HDF5 file ({{}}): {MEND}"
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
    stored = StoreFields(file, path)
    provenance = stored.provenance()
    skipped = zip(stored.texts("skipped/id"), stored.texts("skipped/reason"), strict=False)
    images = _table(stored, "images/id", IMAGES, provenance.embed_dim, take)
    digests = stored.digests(len(images.keys))
    return StoredEmbeddings(
        images=images,
        captions=_table(stored, "captions/text", CAPTIONS, provenance.embed_dim, take)
        if captions
        else KeyedRows((), np.zeros((0, provenance.embed_dim), np.float32)),
        image_sha256=digests,
        provenance=provenance,
        skipped=dict(skipped),
        path=path,
        sha256=sha256,
        image_states=stored.image_states(len(images.keys)),
        precision=stored.precision(),
        libraries=stored.libraries(),
    )


def _table(stored: StoreFields, keys: str, vectors: str, dim: int, take: _Take) -> KeyedRows:
    """The vectors of one group by key; each key once, each vector of the encoder's width."""
    texts = stored.texts(keys)
    rows = stored.vectors(vectors, (len(texts), dim))
    stored.require_each_once(keys, texts)
    return KeyedRows(texts, take(rows))


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
    for name, table in ((IMAGES, stored.images), (CAPTIONS, stored.captions)):
        require_directions(table.vectors, f"{stored.path} ({name.partition('/')[0]})")
        if not digest.sealed and len(table.vectors):
            require_checksum(file, name, table.vectors)
