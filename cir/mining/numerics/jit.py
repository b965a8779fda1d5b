"""How loops over single similarities are compiled, and where their machine code is kept."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.misc.appdirs import AppDirs

Function = TypeVar("Function", bound=Callable[..., Any])

_MINING: Final = Path(__file__).parent.parent
_WORDS: Final = _MINING.parent / "types.py"
"""Compiled functions hold codes of these words as constants."""
_SETTINGS: Any = numba.config


def compiled(function: Function) -> Function:
    """Compiles a function of arrays and numbers to machine code when it is first called.

    Arithmetic is IEEE's, in the order that is written: nothing is fused or reordered. The code is
    kept on disk for the next process, and runs beside other threads. It makes no arrays: its
    callers pass it scratch memory. So it counts no references to arrays, which took longer than
    the loops.
    """
    return _compiled(function, fastmath=False)


def compiled_loosely(function: Function) -> Function:
    """As `compiled`, with sums reordered and fused as is fastest: within rounding, not exact."""
    return _compiled(function, fastmath=True)


def sources_digest(folder: Path, *others: Path) -> str:
    """A digest of every Python source below a folder, at any depth, and of other sources."""
    digest = hashlib.sha256()
    named = [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*.py"))]
    for name, path in [*named, *((f"/{other.name}", other) for other in others)]:
        source = path.read_bytes()
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


def first_writable(folders: Iterable[Path]) -> Path | None:
    """The first of some folders that can be made and written, or None."""
    for folder in folders:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _cache_folders() -> Iterable[Path]:
    """Where machine code may be kept: where the user says, beside the sources, in the user's cache.

    A function's own source does not show that another one which it calls was changed. So the name
    of each folder holds a digest of all sources of mining, and of the words that they use.
    """
    folder = f"cir-mining-{sources_digest(_MINING, _WORDS)}"
    if _SETTINGS.CACHE_DIR:
        yield Path(_SETTINGS.CACHE_DIR) / folder
    yield _MINING / "__pycache__" / folder
    users: Any = AppDirs
    yield Path(users("numba", appauthor=False).user_cache_dir) / folder


_CACHE: Final = first_writable(_cache_folders())
"""None where nothing can be written: then every process compiles for itself."""


class _Cache(FunctionCache):
    """A function's machine code on disk; a full or lost disk costs time, and fails nothing."""

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        with suppress(OSError):
            return super().load_overload(signature, target_context)  # type: ignore[no-untyped-call]

    def save_overload(self, signature: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]


def _compiled(function: Function, *, fastmath: bool) -> Function:
    # Numba's own loops leave reference counts out in this way; its stubs do not know it.
    made = numba.njit(  # type: ignore[call-overload]
        nogil=True, error_model="numpy", fastmath=fastmath, _nrt=False
    )(function)
    if _CACHE is not None:
        before, _SETTINGS.CACHE_DIR = _SETTINGS.CACHE_DIR, str(_CACHE)
        try:
            # What another user made there may be closed to this one: numba then raises.
            with suppress(RuntimeError, OSError):
                made._cache = _Cache(function)  # type: ignore[no-untyped-call]
        finally:
            _SETTINGS.CACHE_DIR = before
    return cast("Function", made)
