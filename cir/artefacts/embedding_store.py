"""A store for other programs: rows by id or by place, left in the file until they are used."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from cir.arguments import shown
from cir.artefacts.provenance import Provenance
from cir.artefacts.store import map_embeddings
from cir.artefacts.vectors import VectorTable
from cir.errors import StoreError, UsageError

if TYPE_CHECKING:
    import torch

Key = str | int | slice | Sequence[str] | Sequence[int]
"""An id or a row, or several of either."""


class MappedVectors:
    """Vectors by key, memory-mapped: many processes share one copy in memory."""

    def __init__(self, table: VectorTable) -> None:
        """Takes a table whose vectors are in a file."""
        self._table = table

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each row: image ids, or captions."""
        return self._table.keys

    def __len__(self) -> int:
        return len(self._table.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._table.row_of

    def __getitem__(self, key: Key) -> Float32[np.ndarray, "..."]:
        """The vector of a key or a row, (dim,), or those of several, (rows, dim).

        Raises:
            StoreError: a key has no row.
            UsageError: `key` is neither keys nor rows, or mixes them; a mask is neither.
            IndexError: there is no such row.
        """
        found: Float32[np.ndarray, ...] = np.asarray(self._table.vectors[self._rows_of(key)])
        return found

    def torch(self, key: Key) -> "torch.Tensor":
        """As by brackets, as a tensor with memory of its own."""
        import torch

        return torch.from_numpy(np.array(self[key]))

    def _rows_of(self, key: Key) -> Any:
        if isinstance(key, str):
            return int(self._table.rows([key])[0])
        if isinstance(key, slice):
            return key
        if _is_row(key):
            return int(self._within([key])[0])
        several = list(key) if isinstance(key, Iterable) else [key]
        if all(isinstance(each, str) for each in several):
            return self._table.rows([str(each) for each in several])
        if all(map(_is_row, several)):
            return self._within(several)
        if all(isinstance(each, bool | np.bool_) for each in several):
            raise UsageError(
                f"`key` is {shown(key)}, which holds True and False; expected keys or rows: "
                f"np.flatnonzero gives the rows of a mask"
            )
        held = shown(key) if len(several) != 1 else shown(several[0])
        raise UsageError(f"`key` is {held}; expected keys or rows, and not both")

    def _within(self, rows: Sequence[Any]) -> np.ndarray:
        """Rows as an array; raises IndexError where the table has not one of them."""
        count = len(self)
        for row in rows:
            if not -count <= row < count:
                raise IndexError(f"row {row} is out of bounds: there are {count:,}")
        return np.array(rows, np.int64)


def _is_row(key: object) -> bool:
    """Whether a key is a number of a row; True and False are none."""
    return isinstance(key, int | np.integer) and not isinstance(key, bool)


class EmbeddingStore:
    """An embedding store, opened for reading; the door is `cir.EmbeddingStore`.

        store = cir.EmbeddingStore("data/shop.h5")
        store["1163"]                 # (dim,) float32, as the encoder gives it: not normalised
        store[["1163", "1164"]]       # (2, dim)
        store[100:200]                # rows, a view of the file
        store.torch(slice(None))      # all of them, as a tensor
        store.captions["is red"]

    It may be handed to other processes (a DataLoader's workers, multiprocessing): each maps the
    same file, which must not have been replaced meanwhile.
    """

    def __init__(self, path: str | Path, *, verify: bool = True) -> None:
        """Opens a store.

        Args:
            path: `embeddings.h5`, as `cir embed` writes it.
            verify: Whether to compare the checksum of the whole file first, which reads it once.

        Raises:
            UsageError: `path` is no path.
            StoreError: there is no store, or it is damaged.
        """
        if not isinstance(path, str | Path) or not str(path):
            raise UsageError(f"`path` is {path!r}; expected a path, as str or Path")
        self.path = Path(path)
        held = map_embeddings(self.path, verify=verify)
        self._identity = _identity(self.path)
        self.images = MappedVectors(held.images)
        self.captions = MappedVectors(held.captions)
        self.image_sha256 = held.image_sha256
        self.provenance: Provenance = held.provenance
        self.precision = held.precision
        self.skipped = held.skipped

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each image, in the order of rows."""
        return self.images.keys

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self.provenance.embed_dim

    def __len__(self) -> int:
        return len(self.images)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.images

    def __getitem__(self, key: Key) -> Float32[np.ndarray, "..."]:
        """The vectors of images, as of `images`."""
        return self.images[key]

    def torch(self, key: Key) -> "torch.Tensor":
        """The vectors of images as a tensor with memory of its own."""
        return self.images.torch(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self.path.absolute(), self._identity)


def _opened_again(path: Path, identity: tuple[int, int, int]) -> EmbeddingStore:
    """The same store in another process, which need not read all of it again."""
    if _identity(path) != identity:
        raise StoreError(f"{path} was replaced since it was opened: open it again")
    return EmbeddingStore(path, verify=False)


def _identity(path: Path) -> tuple[int, int, int]:
    """Another for every file that has stood at `path`."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
