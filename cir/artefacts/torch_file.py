"""Files of `torch.save`, read without running code from them."""

import errno
import pickle
import struct
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, Final, cast

import torch

from cir.errors import one_line

_OF_DAMAGE: Final = (
    *(RuntimeError, EOFError, LookupError, TypeError, AttributeError, AssertionError),
    *(struct.error, pickle.PickleError),
)
"""What torch raises where bytes of a file are wrong or missing, beside ValueError."""


def load_torch(file: Path | BufferedIOBase) -> Any:
    """The tensors, on the CPU, and plain values of a file, by its path or open.

    Raises:
        OSError: the system refuses the file.
        ValueError: it is damaged, or holds something else; says so in one line.
    """
    try:
        return torch.load(cast("IO[bytes]", file), map_location="cpu", weights_only=True)
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        # Where the end of an archive is missing, torch seeks to a place before the start.
        raise ValueError("it is cut short") from fault
    except _OF_DAMAGE as fault:
        raise ValueError(one_line(fault)) from fault
