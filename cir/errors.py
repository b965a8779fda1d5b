"""The failures a user can mend: one line saying what was expected, what came and what to do."""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Final

_REMEDIES: Final = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "symbolic links lead in a circle: remove one of them",
    errno.EACCES: "change its permissions, or choose another path",
    errno.EPERM: "change its permissions, or choose another path",
    errno.EROFS: "choose a path on a file system that can be written to",
    errno.ENOSPC: "free some space, or choose a path on another disk",
    errno.EDQUOT: "free some space, or choose a path on another disk",
    errno.ENOENT: "check its spelling",
    errno.EISDIR: "expected a file",
    errno.ENOTDIR: "expected a folder",
    errno.EAGAIN: "another process holds the file: wait until it ends",
    errno.EBUSY: "another process holds the file: wait until it ends",
    errno.ETXTBSY: "another process holds the file: wait until it ends",
    errno.EMFILE: "raise the limit of open files with ulimit -n",
    errno.ENFILE: "raise the limit of open files with ulimit -n",
    errno.EIO: "the disk or the network failed: try again, or choose another disk",
    errno.ESTALE: "the network folder changed: try again",
    errno.ENOTEMPTY: "another process writes there: choose another path",
    errno.EINVAL: "choose another path",
    errno.ENOMEM: "free some memory",
}
"""What to do about each fault of the operating system."""
_LONGEST_QUOTED: Final = 80
"""Characters of a text that a message repeats."""


def reason_of(error: OSError) -> str:
    """What the operating system refused, and what to do about it, without the path."""
    if error.errno in _REMEDIES:
        return f"{os.strerror(error.errno)} ({_REMEDIES[error.errno]})"
    return error.strerror or one_line(error)


def one_line(error: BaseException) -> str:
    """The first line of what an error says; its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def printable(text: str) -> str:
    """A text that any file takes: bytes of a path that are no UTF-8 stand as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def quoted(text: str) -> str:
    """A text between quotes, of a long one the beginning."""
    return repr(text) if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]!r}…"


def without_middle(text: str, letters: int) -> str:
    """A text without its middle, where it has more than so many characters."""
    if len(text) <= letters:
        return text
    front = (letters - 1) // 2
    return f"{text[:front]}…{text[len(text) - (letters - 1 - front) :]}"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def is_of_the_system(error: BaseException) -> bool:
    """Whether the operating system refused something, in place of a file's content being wrong."""
    return isinstance(error, OSError) and error.errno in _REMEDIES


def described(error: OSError) -> str:
    """The path, what the operating system refused, and what to do, as one line."""
    path = error.filename2 or error.filename
    return f"{path}: {reason_of(error)}" if path else reason_of(error)


class CirError(Exception):
    """A failure that is the input's or the machine's, not the program's."""


class UsageError(CirError):
    """What was asked for cannot be: an unknown name, an output that exists, options at odds."""


class ConfigError(UsageError):
    """A configuration with one or more faults, all of them named at once."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class DatasetError(CirError):
    """A dataset folder that lacks what a stage needs, or holds what it cannot read."""


class ImageError(CirError):
    """An image file that is missing, empty, truncated or no image."""


class UnreadImageError(ImageError):
    """An image file that the system does not give now; it may the next time."""


class StorageError(CirError):
    """Object storage that cannot be reached or refuses what is asked of it."""


class WeightsError(CirError):
    """Encoder weights that cannot be had, read, or fitted to the model."""


class StoreError(CirError):
    """An embedding store that is damaged, lacks a row, or belongs to another encoder."""


class ManifestError(CirError):
    """A manifest that is damaged or was mined from something else."""


class CheckpointError(CirError):
    """A checkpoint that is damaged or does not fit."""


class TrainingError(CirError):
    """A training run that cannot go on, its last good checkpoint untouched."""


class StoppedError(CirError):
    """A run that a signal stopped; it can be gone on with."""

    def __init__(self, signal: int, line: str) -> None:
        """Keeps what happened.

        Args:
            signal: The number of the signal.
            line: Where the run was stopped, and what is saved; how to go on is added.
        """
        self.signal, self.line = signal, line
        super().__init__(f"{line}: go on with `resume=True`")


class VectorError(CirError):
    """Vectors that no distance is defined for: NaN, infinite, all zero, of another dimension."""


class UnreachableError(CirError):
    """A service elsewhere that does not answer, or refuses: the same may go well later."""
