"""Writing an embedding store: aside, a block of rows at a time, and sealed by a checksum."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int

from cir import __version__
from cir.artefacts import checksums
from cir.artefacts.provenance import Provenance
from cir.artefacts.rows import KeyedRows, Rows, blocks_of
from cir.artefacts.sparse_file import SparseFile
from cir.artefacts.store_layout import (
    CAPTIONS,
    CHECKSUM,
    IMAGES,
    SCHEMA_VERSION,
    as_stored,
    checksum_of,
)
from cir.artefacts.vectors import require_directions
from cir.disk.files import written_aside
from cir.errors import StoreError


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
    vectors = {IMAGES: images.vectors, CAPTIONS: captions.vectors}
    with written_aside(path) as aside, aside.open("w+b") as file:
        _write(file, attributes, columns, states, vectors)


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
            file.write(as_stored(block))
    file.seek(frame.length)
    file.write(checksums.PLACE)
    checksums.seal(file)


def _room_for(store: Any, name: str, rows: Rows) -> int:
    """Makes a dataset for vectors, which are not written; where they belong in the file."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dataset = store.create_dataset(name, shape=rows.shape, dtype="<f4", dcpl=how)
    dataset.attrs[CHECKSUM] = checksum_of(rows)
    return int(dataset.id.get_offset() or 0)
