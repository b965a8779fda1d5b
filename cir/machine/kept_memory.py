"""Freed memory that a program keeps for what it allocates next.

An encoder on a CPU allocates the same tens of megabytes for every batch. The GNU library gives them
back to the system in between, which has to hand them out page by page, each filled with zeros: a
tenth of the time that `cir-tiny` takes.
"""

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1, 128 << 20
"""`M_TRIM_THRESHOLD` (mallopt(3)): bytes free at the heap's end above which they are given back."""
_MMAP_THRESHOLD: Final = -3, 32 << 20
"""`M_MMAP_THRESHOLD`: bytes from which an allocation is never kept, as one huge photo's."""


def keep_freed_memory() -> bool:
    """Has this process and those that it forks keep up to 128 MiB each; whether it could.

    Other libraries than the GNU one have rules of their own and are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(*each) == 1 for each in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
