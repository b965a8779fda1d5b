"""Photos added to and removed from a gallery while it is served: the only module that knows SQLite.

`shop.h5.changes.sqlite3` lies beside the store `shop.h5`. Each change is on the disk before it is
answered (write-ahead log, flushed at every commit), so that a killed server loses none. The file is
the lasting record: `cir embed` folds it into the store, and it stays, since photos that were added
have no other file.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from cir.artefacts.provenance import Provenance
from cir.errors import StoreError

SUFFIX: Final = ".changes.sqlite3"
"""What the file's name adds to the store's."""
SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS photos (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, title TEXT NOT NULL, category TEXT NOT NULL,
    photo BLOB NOT NULL, vector BLOB NOT NULL, provenance TEXT NOT NULL, added TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS removed (id TEXT PRIMARY KEY, removed TEXT NOT NULL);
"""
_ADDED: Final = "SELECT id, sha256, title, category, vector, provenance FROM photos ORDER BY rowid"
_WAIT_SECONDS: Final = 10.0
"""How long another process's write is waited for."""


class TakenIdError(StoreError):
    """A photo of that id was added already."""


@dataclass(frozen=True, eq=False)
class AddedPhoto:
    """A photo that was added."""

    id: str
    sha256: str
    """Of `photo`."""
    title: str
    category: str
    """Empty where none was given."""
    vector: Float32[np.ndarray, " dim"]
    """As the encoder gave it, not normalised."""
    provenance: Provenance
    """The encoder that made it."""


def changes_file(store: Path) -> Path:
    """Where a store's changes are."""
    return store.with_name(store.name + SUFFIX)


class Changes:
    """The photos added to and removed from a store's gallery."""

    def __init__(self, store: Path) -> None:
        """Names the file; `add` and `remove` make it.

        Args:
            store: The embedding store.

        Raises:
            StoreError: a file of another kind or schema is there.
        """
        self.path = changes_file(store)
        if self.path.exists():
            self.removed()

    def add(self, photo: AddedPhoto, encoded: bytes) -> None:
        """Records a photo, and that it is there again where it was removed.

        Args:
            photo: What is known of it.
            encoded: The bytes of its file.

        Raises:
            TakenIdError: a photo of that id was added, and not removed since.
            StoreError: the change cannot be written.
        """
        row = (
            *(photo.id, photo.sha256, photo.title, photo.category, encoded),
            photo.vector.astype("<f4").tobytes(),
            *(json.dumps(asdict(photo.provenance)), _now()),
        )
        with self._changed() as database:
            try:
                database.execute("INSERT INTO photos VALUES (?,?,?,?,?,?,?,?)", row)
            except sqlite3.IntegrityError as fault:
                raise TakenIdError(
                    f"{self.path} holds a photo {photo.id!r} already: pass another `id`"
                ) from fault
            database.execute("DELETE FROM removed WHERE id = ?", (photo.id,))

    def remove(self, image_id: str) -> None:
        """Records that a photo is gone, whether it was added or is of the store."""
        with self._changed() as database:
            database.execute("DELETE FROM photos WHERE id = ?", (image_id,))
            database.execute("INSERT OR REPLACE INTO removed VALUES (?,?)", (image_id, _now()))

    def added(self) -> list[AddedPhoto]:
        """The photos that were added and not removed, in the order in which they came."""
        return [self._photo(row) for row in self._rows(_ADDED)]

    def removed(self) -> frozenset[str]:
        """The ids that were removed, and not added again."""
        return frozenset(image_id for (image_id,) in self._rows("SELECT id FROM removed"))

    def named(self) -> frozenset[str]:
        """The ids that were added or removed: what a dataset holds of them no longer counts."""
        return self.removed() | {photo.id for photo in self.added()}

    def photo_bytes(self, image_id: str) -> bytes | None:
        """The bytes of an added photo's file; None of another id."""
        rows = self._rows("SELECT photo FROM photos WHERE id = ?", image_id)
        return bytes(rows[0][0]) if rows else None

    def _rows(self, statement: str, *values: str) -> list[Any]:
        if not self.path.exists():
            return []
        with self._opened(self._reading()) as database:
            if _is_empty(database):
                return []
            self._require_schema(database)
            return database.execute(statement, values).fetchall()

    def _reading(self) -> str:
        """How SQLite opens the file to read it.

        It makes its log and an index beside a file to read it, and removes them where it may write
        to the file. Where it may not, and no log is there, the file is all that there is to read.
        """
        files = ((self.path, os.W_OK), (self.path.parent, os.W_OK | os.X_OK))
        if all(os.access(path, mode) for path, mode in files) or _size(self._log):
            return "mode=rw"
        return "mode=ro&immutable=1"

    @property
    def _log(self) -> Path:
        """Where SQLite keeps what is not in the file yet."""
        return self.path.with_name(f"{self.path.name}-wal")

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """A connection that writes; all of the block is on the disk after it, or nothing is."""
        with self._opened("mode=rwc") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            if _is_empty(database):
                database.executescript(
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
            self._require_schema(database)
            with database:
                yield database

    @contextmanager
    def _opened(self, options: str) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own; what SQLite refuses is told in one line."""
        address = f"{self.path.absolute().as_uri()}?{options}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_SECONDS)) as database:
                yield database
        except sqlite3.Error as fault:
            raise StoreError(f"{self.path} cannot be read or written: {fault}") from fault

    def _require_schema(self, database: sqlite3.Connection) -> None:
        """Raises StoreError where the tables are of another schema."""
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}, expected {SCHEMA_VERSION}: it was "
                f"made by another version of cir, or by another program"
            )

    def _photo(self, row: tuple[str, str, str, str, bytes, str]) -> AddedPhoto:
        image_id, sha256, title, category, vector, provenance = row
        try:
            source = Provenance(**json.loads(provenance))
        except (TypeError, ValueError) as fault:
            raise StoreError(f"{self.path} is damaged at {image_id!r}: {fault}") from fault
        values = np.frombuffer(vector, dtype="<f4").astype(np.float32)
        if len(values) != source.embed_dim:
            raise StoreError(
                f"{self.path} is damaged at {image_id!r}: a vector of {len(values)} components, "
                f"expected {source.embed_dim}"
            )
        return AddedPhoto(image_id, sha256, title, category, values, source)


def _is_empty(database: sqlite3.Connection) -> bool:
    """Whether a file holds no tables: a writer that was killed as it began left it."""
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def _size(file: Path) -> int:
    """The bytes of a file; none where there is no file."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
