"""Files opened for reading: regular ones alone, so that no pipe or device makes a run wait."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_WITHOUT_WAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def opened(path: Path) -> BufferedReader:
    """Opens a regular file for reading, by whatever links lead to it.

    Raises:
        OSError: it is missing, refused by the system, or no regular file.
    """
    # A device may act when it is opened, so its kind is asked first; and once more of what was
    # opened, which may have taken its place.
    _require_regular(path.stat())
    descriptor = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        _require_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as of `opened`.
    """
    with opened(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: as of `opened`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise OSError(f"it is {kind}; expected a file")
