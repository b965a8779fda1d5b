"""HDF5 files of unknown origin, tried in a process of their own before this one reads them.

The HDF5 library trusts what a file says of itself: a changed byte may make it loop for ever, crash,
or ask for all memory. A store that carries a checksum is known to be as it was written. One that
carries none (an earlier version's, or one that another program changed) is read first by a child
process that may crash, within limits of time and memory that are linear in the file.
"""

import os
import signal
import subprocess
import sys
from io import BufferedReader
from typing import Final

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_END_ADDRESS: Final = {0: 40, 1: 44, 2: 28, 3: 28}
"""Where a superblock of each version says how long the file is (HDF5 File Format Specification 3.0,
section II.A), with addresses of 8 bytes."""
_LONGEST_HEADER: Final = 64
_SECONDS: Final = 30
_BYTES_A_SECOND: Final = 10_000_000
"""A file may take `_SECONDS`, and a second more for as many bytes."""
_BASE_MEMORY: Final = 2 << 30
"""Address space of a process that only imports what reads."""
_MEMORY_A_BYTE: Final = 8
"""Address space for each byte of the file."""
_CODE: Final = "from cir.artefacts import store; store.try_to_read()"


class HarmfulError(ValueError):
    """A file that is not to be read in this process; says why."""


def require_length(file: BufferedReader) -> None:
    """Requires that a file is as long as its superblock says.

    Raises:
        HarmfulError: it is shorter, or bytes that are not HDF5's stand behind its end.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(_LONGEST_HEADER)
    place = _END_ADDRESS.get(header[8]) if len(header) == _LONGEST_HEADER else None
    if not header.startswith(_SIGNATURE) or place is None:
        raise HarmfulError("it does not begin as HDF5 does")
    expected = int.from_bytes(header[place : place + 8], "little")
    if size < expected:
        raise HarmfulError(f"it is cut off: {size:,} bytes of {expected:,}")
    if size > expected:
        raise HarmfulError(f"it has {size:,} bytes where its header says {expected:,}")


def require_harmless(file: BufferedReader) -> None:
    """Lets a child process read an open file, and gives it up where that does not end well.

    Raises:
        HarmfulError: the child crashed, or needed more time or memory than the file is worth.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        code = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", _CODE],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=_SECONDS + size / _BYTES_A_SECOND,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise HarmfulError("reading it does not end") from None
    finally:
        file.seek(0)
    if code == -signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise HarmfulError("reading it ends in a crash, or in a lack of memory")


def limit_memory(size: int) -> None:
    """Limits this process to what reading a file of `size` bytes may need, where the system can."""
    try:
        import resource
    except ImportError:
        return
    most = _BASE_MEMORY + _MEMORY_A_BYTE * size
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
