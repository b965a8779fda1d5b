"""What ties worker processes to the process that started them: none of them outlives it.

A worker waits, in a thread, for the end of a pipe whose other end the starting process alone has.
That end closes when the process lets go of it, and when the process ends in whatever way.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Final

_uncut: Final[set["Lifeline"]] = set()


class Lifeline:
    """Ends the workers that depend on it when it is cut, at the latest when the block ends."""

    def __init__(self) -> None:
        self.end, self._held = Pipe(duplex=False)
        """What each worker is given for `hang_on`."""
        _uncut.add(self)

    def __enter__(self) -> "Lifeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Ends the workers, whatever they are doing; no other can be started."""
        _uncut.discard(self)
        self._held.close()
        self.end.close()


def hang_on(end: Connection) -> None:
    """Lets this worker end as soon as the lifeline is cut, and leaves signals to its parent.

    Args:
        end: `Lifeline.end` of the parent.
    """
    with suppress(OSError):  # a leader of its group is in a session of its own already
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_await, args=(end,), daemon=True).start()


@contextmanager
def interrupts_kept_back() -> Iterator[None]:
    """Keeps Ctrl-C from the processes that the block starts, which inherit what is blocked.

    One that comes meanwhile reaches this process after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await(end: Connection) -> None:
    with suppress(EOFError, OSError):
        end.recv_bytes()
    os._exit(0)  # no failure, as torch would take another code for


def _let_go() -> None:
    """A forked process holds no lifeline of its parent's, else it would keep workers alive."""
    for line in _uncut:
        line._held.close()
    _uncut.clear()


os.register_at_fork(after_in_child=_let_go)
