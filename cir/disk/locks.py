"""One writer at a time: a lock on an output that ends with the process that holds it.

The lock is flock's, on a hidden file beside the output, `.<name>.lock`, which also says who holds
it. The system lets go of it when the process ends in whatever way; the file that a killed process
leaves is taken over by the next writer.
"""

import fcntl
import json
import os
import platform
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Final

from cir.disk.files import real, unwritable
from cir.disk.hidden import SIGNATURE, is_signature, lock_of
from cir.errors import CirError, UsageError

_held: Final[dict[Path, tuple[int, int]]] = {}
"""The outputs that are held: the lock's file descriptor, and the thread that took it."""

_LOOKS: Final = 5
"""How often the name of a lock's holder is looked for."""
_BETWEEN_TRIES: Final = 0.02
"""Seconds from one look, or try, to the next."""
_SIGNED: Final = 0.1
_UNSIGNED: Final = 3.0
"""Seconds for which a lock is tried whose holder has signed, and for which one whose has not: who
removes what a killed process left holds it for a moment, and does not sign."""


@contextmanager
def held(path: Path, *, field: str = "out") -> Iterator[None]:
    """Holds an output while the block runs; one that this thread holds already is held on.

    Where the file system knows no locks, the block runs without.

    Args:
        path: The output; links are followed. Folders that lead to it are made, and removed after
            the block where they are empty.
        field: What the output is called.

    Raises:
        UsageError: another writer holds it; says which.
        CirError: the folder that it lies in takes no file.
    """
    place = real(path)
    if _held.get(place, (0, 0))[1] == threading.get_ident():
        yield
        return
    made = [folder for folder in place.parents if not folder.exists()]
    try:
        _hold(path, place, field)
        try:
            yield
        finally:
            _release(place)
    finally:
        _remove_empty(made)


def release_all() -> None:
    """Lets go of every output, and removes the files of the locks."""
    for path in tuple(_held):
        _release(path)


def remove_unheld(path: Path) -> None:
    """Removes the lock's file of an output that nobody holds, as a killed process leaves it.

    It is removed by who holds its lock, as after every writing: a writer that opened it before
    finds that its name leads elsewhere, and begins again.
    """
    file = lock_of(real(path))
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, file) and _is_ours(descriptor):
                os.ftruncate(descriptor, 0)  # who was killed signed it, and holds it no more
                file.unlink()
        finally:
            os.close(descriptor)


def _hold(path: Path, place: Path, field: str) -> None:
    """Locks an output; to make the lock's file also shows that its folder can be written to."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _held[place] = _locked(path, lock_of(place), field), threading.get_ident()
    except OSError as error:
        raise CirError(unwritable(path, error)) from error


def _locked(path: Path, file: Path, field: str) -> int:
    """A descriptor of the lock's file, which is locked."""
    started = time.monotonic()
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            if time.monotonic() - started < (_SIGNED if holder else _UNSIGNED):
                time.sleep(_BETWEEN_TRIES)
                continue
            raise UsageError(
                f"{path} is being written by {holder or 'another process'}: wait until it ends, or "
                f"choose another `{field}`"
            ) from None
        except OSError:
            _require_ours(descriptor, path, file, field)
            return descriptor  # this file system has no locks
        if _is_same(descriptor, file):
            _require_ours(descriptor, path, file, field)
            _sign(descriptor)
            return descriptor
        os.close(descriptor)  # its holder removed it in the meantime


def _require_ours(descriptor: int, path: Path, file: Path, field: str) -> None:
    """Raises UsageError, and closes the file, where another's would be written over."""
    if _is_ours(descriptor):
        return
    os.close(descriptor)
    raise UsageError(
        f"{file} is no lock of cir, which writes one of this name beside {path}: move it, or "
        f"choose another `{field}`"
    )


def _is_same(descriptor: int, file: Path) -> bool:
    """Whether the file at a path is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def _is_ours(descriptor: int) -> bool:
    """Whether a lock's file is empty, or signed; what others wrote is never written over."""
    return is_signature(os.pread(descriptor, len(SIGNATURE), 0))


def _sign(descriptor: int) -> None:
    """Writes who holds the lock; on a full disk it stays unsaid."""
    who = {
        "command": shlex.join(_command()),
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _command() -> Iterator[str]:
    """The command that runs, as it was typed, without its options."""
    yield Path(sys.argv[0]).name
    yield from takewhile(lambda word: not word.startswith("-"), sys.argv[1:3])


def _holder(descriptor: int) -> str | None:
    """Who holds the lock, if its file tells: a writer signs as soon as it has locked."""
    for _ in range(_LOOKS):
        with suppress(OSError, ValueError, KeyError, TypeError):
            who = json.loads(os.pread(descriptor, 1 << 16, 0))
            since = datetime.fromisoformat(who["since"]).strftime("%Y-%m-%d %H:%M:%S")
            return f"process {who['pid']} on {who['host']} since {since} ({who['command']})"
        time.sleep(_BETWEEN_TRIES)
    return None


def _release(path: Path) -> None:
    """Removes the lock's file, then lets go of it: nobody then locks a file that has no name."""
    descriptor, _ = _held.pop(path, (-1, 0))
    if descriptor < 0:
        return
    file = lock_of(path)
    with suppress(OSError):
        if _is_same(descriptor, file):
            file.unlink()
    with suppress(OSError):
        os.close(descriptor)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _forget() -> None:
    """A forked process holds no lock of its parent's, else it would hold it beyond its death."""
    for descriptor, _ in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
