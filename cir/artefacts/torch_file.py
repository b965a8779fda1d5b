"""Files of `torch.save`, read without running code from them."""

import errno
import pickle
import re
import struct
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import torch

from cir.errors import one_line

_OF_DAMAGE: Final = (
    *(RuntimeError, EOFError, LookupError, TypeError, AttributeError, AssertionError),
    *(struct.error, pickle.PickleError),
)
"""What torch raises where bytes of a file are wrong or missing, beside ValueError."""


_REBUILT: Final = {
    "scalar": np.float64(0).__reduce__()[0],
    "_reconstruct": np.zeros(0).__reduce__()[0],
}
_NUMPY: Final[tuple[Any, ...]] = (
    *(np.ndarray, np.dtype),
    *(type(np.dtype(kind)) for kind in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"),
    *(
        (made, f"{home}.multiarray.{name}")
        for name, made in _REBUILT.items()
        for home in ("numpy.core", "numpy._core")
    ),
)
"""NumPy's numbers and arrays, which hold data and run nothing: figures that training left beside
the weights. NumPy 2 names their home otherwise than NumPy 1."""
_ADVICE: Final = "weights_only"
"""The argument of `torch.load` that its advice is about."""
_NO_FILE: Final = "it is no whole file of torch.save"
_GLOBAL: Final = re.compile(r"(?:GLOBAL|global) (\S+) (?:was not|is not|not an)")


def load_torch(file: Path | BufferedIOBase) -> Any:
    """The tensors, on the CPU, and plain values of a file, by its path or open.

    Raises:
        OSError: the system refuses the file.
        ValueError: it is damaged, or holds something else; says so in one line.
    """
    try:
        with torch.serialization.safe_globals(list(_NUMPY)):
            return torch.load(cast("IO[bytes]", file), map_location="cpu", weights_only=True)
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        # Where the end of an archive is missing, torch seeks to a place before the start.
        raise ValueError("it is cut short") from fault
    except _OF_DAMAGE as fault:
        raise ValueError(_said(fault)) from fault


def _said(fault: Exception) -> str:
    """One line without torch's advice to run code; where the file asks for code, which."""
    named = _GLOBAL.search(str(fault))
    if named is None:
        unclear = isinstance(fault, LookupError) or _ADVICE in str(fault)
        return _NO_FILE if unclear else one_line(fault)
    return (
        f"it needs {named[1]}, which may run code: where you trust it, load it with the program "
        f"that made it and save its state_dict() alone"
    )
