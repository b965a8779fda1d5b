"""The hidden files and folders that cir keeps beside an output while it writes it.

Only these are ever swept away, so that no file of somebody else is taken for one: by names that
nobody gives by chance, or by what they hold.
"""

import re
import uuid
from pathlib import Path
from typing import Final

SIGNATURE: Final = b'{"command": '
"""How a lock's file begins that says who holds it."""

_ASIDE: Final = re.compile(r"\..+\.cir-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
_BLOCK: Final = re.compile(r"[a-z]+-[0-9a-f]{64}-.+\.(npz|parquet)", re.DOTALL)
_MANAGERS: Final = ".DS_Store"
"""A name that a file manager gives."""


def aside_of(path: Path) -> Path:
    """Another place beside an output, to write it at."""
    return path.with_name(f".{path.stem}.cir-{uuid.uuid4().hex[:8]}{path.suffix}")


def is_aside_of(path: Path, name: str) -> bool:
    """Whether a name is one of `aside_of`."""
    form = rf"\.{re.escape(path.stem)}\.cir-[0-9a-f]{{8}}{re.escape(path.suffix)}"
    return bool(re.fullmatch(form, name))


def retired_of(path: Path) -> Path:
    """Where a folder waits that another takes the place of."""
    return path.with_name(f".{path.name}-retired")


def lock_of(path: Path) -> Path:
    """The file beside an output that is locked while it is written."""
    return path.with_name(f".{path.name}.lock")


def parts_of(path: Path) -> Path:
    """The folder beside a store that holds what a killed run has done."""
    return path.with_name(f".{path.name}.parts")


def is_signature(beginning: bytes) -> bool:
    """Whether a lock's file is empty, or signed, by how it begins."""
    return not beginning or beginning.startswith(SIGNATURE)


def is_block(path: Path) -> bool:
    """Whether a file holds what a killed run has done, written whole or half."""
    return _is_file(path) and bool(_BLOCK.fullmatch(path.name) or _ASIDE.fullmatch(path.name))


def is_hidden_of_cir(path: Path) -> bool:
    """Whether a file or folder is one that cir keeps while it writes, or that a manager put there.

    A folder that waits under the name of `retired_of` is told by its marker, elsewhere.
    """
    if path.name == _MANAGERS or _ASIDE.fullmatch(path.name):
        return True
    if not path.name.startswith("."):
        return False
    if path.suffix == ".lock":
        return _is_file(path) and _is_signed(path)
    parts = path.suffix == ".parts" and path.is_dir() and not path.is_symlink()
    return parts and all(map(is_block, path.iterdir()))


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_signed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_signature(file.read(len(SIGNATURE)))
    except OSError:
        return False
