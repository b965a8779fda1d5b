"""How loops over single similarities are compiled."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_MINING: Final = Path(__file__).parent.parent


def compiled(function: Function) -> Function:
    """Compiles a function of arrays and numbers to machine code when it is first called.

    Arithmetic is IEEE's, in the order that is written: nothing is fused or reordered. The code is
    kept on disk for the next process, and runs beside other threads. It makes no arrays: what works
    in some is given them. So no references to arrays are counted, which took longer than the loops.
    """
    return _compiled(function, fastmath=False)


def compiled_loosely(function: Function) -> Function:
    """As `compiled`, with sums reordered and fused as is fastest: within rounding, not exact."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, *, fastmath: bool) -> Function:
    settings: Any = numba.config
    usual = settings.CACHE_DIR
    settings.CACHE_DIR = str(_MINING / "__pycache__" / f"compiled-{_SOURCES}")
    try:
        # Numba's own loops leave reference counts out in this way; its stubs do not know it.
        make = numba.njit(  # type: ignore[call-overload]
            cache=True, nogil=True, error_model="numpy", fastmath=fastmath, _nrt=False
        )
        return cast("Function", make(function))
    finally:
        settings.CACHE_DIR = usual


def _digest() -> str:
    """Of all the sources of mining: a kept function is stale when one that it calls was changed."""
    digest = hashlib.sha256()
    for path in sorted(_MINING.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_SOURCES: Final = _digest()
