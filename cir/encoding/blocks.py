"""Arrays saved aside block by block, so that a killed run goes on where it was.

A block's key is a hash of everything that it was made from. A changed photo, encoder or batch size
therefore asks for another key, and what is still true of an earlier run is used again.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cir.artefacts.checksums import PLACE, seal, verified
from cir.files import written_aside
from cir.reading import read_bytes


def key_of(name: str, source: Any) -> str:
    """The key of a block made from `source`, JSON values that say all it depends on."""
    described = json.dumps(source, sort_keys=True).encode("utf-8")
    return f"{name}-{hashlib.sha256(described).hexdigest()}"


class Blocks:
    """The blocks of one unfinished output, in a hidden folder beside it."""

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(f".{out.name}.parts")

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a block; None where it was not saved, or is not what was saved."""
        try:
            saved = io.BytesIO(read_bytes(self._file(key)))
            if not verified(saved).sealed:
                return None
            with np.load(saved, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a block aside and moves it into the folder.

        Raises:
            CirError: the folder cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        buffer.seek(0, io.SEEK_END)
        buffer.write(PLACE)
        seal(buffer)
        with written_aside(self._file(key)) as aside:
            aside.write_bytes(buffer.getbuffer())

    def remove(self) -> None:
        """Removes the folder, once the output that it leads to is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
