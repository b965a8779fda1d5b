"""Arrays saved aside block by block, so that a killed run goes on where it was.

A block holds rows that an encoder has made. It is named for what they depend on beside their own
photo or text, so that another encoder finds none, and carries a checksum, so that half a block is
none.
"""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cir.artefacts import checksums
from cir.disk.files import written_aside
from cir.disk.hidden import is_block, parts_of
from cir.disk.reading import read_bytes
from cir.errors import CirError

SECONDS = 5.0
"""How often what is done is saved: what a kill can cost, beside the batch under way."""


def key_of(name: str, source: Any) -> str:
    """The key of blocks made from `source`, JSON values that say all that they depend on."""
    described = json.dumps(source, sort_keys=True).encode("utf-8")
    return f"{name}-{hashlib.sha256(described).hexdigest()}"


def as_bytes(texts: Sequence[str]) -> np.ndarray:
    """Texts as an array of bytes, whatever characters they hold."""
    return np.frombuffer(json.dumps(list(texts)).encode("ascii"), np.uint8)


def as_texts(encoded: np.ndarray) -> tuple[str, ...]:
    """The texts of `as_bytes`."""
    return tuple(json.loads(encoded.tobytes()))


class Blocks:
    """The blocks of one unfinished output, in a hidden folder beside it.

    Of several processes each writes blocks of its own names, and all can be read.
    """

    SUFFIX = ".npz"
    """Ending of the names that `save` gives."""

    def __init__(self, out: Path, rank: int = 0) -> None:
        self.folder = parts_of(out)
        self._rank = rank

    def load_all(self, key: str) -> Iterator[dict[str, np.ndarray]]:
        """The rows of every whole block of a key, batch by batch in the order of saving."""
        for file in sorted(self.folder.glob(f"{key}-*.npz")):
            yield from _read(file)
        if parts := sorted(self.folder.glob(f"{key}-*.parquet")):
            from cir.encoding.job.parquet_blocks import read_block  # loads pyarrow

            for part in parts:
                yield from read_block(part)

    def save(self, key: str, batches: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Writes another block of a key aside and moves it into the folder.

        Raises:
            CirError: the folder cannot be written.
        """
        numbered = {f"{n}.{k}": v for n, batch in enumerate(batches) for k, v in batch.items()}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **numbered)
        buffer.seek(0, io.SEEK_END)
        buffer.write(checksums.PLACE)
        checksums.seal(buffer)
        with written_aside(self._next_file(key)) as aside:
            aside.write_bytes(buffer.getbuffer())

    def remove(self) -> None:
        """Removes the blocks, once the output that they lead to is in place, and their folder.

        What else lies there stays.
        """
        with suppress(OSError):
            for path in self.folder.iterdir():
                if is_block(path):
                    path.unlink()
            self.folder.rmdir()

    def _next_file(self, key: str) -> Path:
        files = self.folder.glob(f"{key}-*{self.SUFFIX}")
        number = max((int(file.stem.rpartition("-")[2]) for file in files), default=-1) + 1
        return self.folder / f"{key}-{self._rank}-{number:08d}{self.SUFFIX}"


class SavedRows:
    """Rows of one kind as they come; every few seconds what came since is saved as a block."""

    def __init__(self, blocks: Blocks, key: str) -> None:
        self._blocks, self._key = blocks, key
        self._waiting: list[Mapping[str, np.ndarray]] = []
        self._saved_at = time.monotonic()

    def __enter__(self) -> "SavedRows":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Saves what waits, which is done, also where something failed, which is told before."""
        with suppress(*([] if error is None else [CirError])):
            self.save()

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes some rows, and saves those that wait where it is time."""
        self._waiting.append(arrays)
        if time.monotonic() - self._saved_at >= SECONDS:
            self.save()

    def save(self) -> None:
        """Saves what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._blocks.save(self._key, waiting)
        self._saved_at = time.monotonic()


def _read(file: Path) -> list[dict[str, np.ndarray]]:
    """The batches of a block; none where it is not as it was saved."""
    try:
        saved = io.BytesIO(read_bytes(file))
        if not checksums.verified(saved).sealed:
            return []
        with np.load(saved, allow_pickle=False) as held:
            arrays = dict(held)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return []
    batches: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        number, _, key = name.partition(".")
        batches.setdefault(int(number), {})[key] = array
    return [batches[number] for number in sorted(batches)]
