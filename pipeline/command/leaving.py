"""How a command leaves when a signal tells it to: soon, and with nothing left behind.

SIGTERM, SIGINT and SIGHUP raise `Left` between two steps of Python, so that all that is under way
is undone as after any failure. Where the program is deep in a computation that does not come back,
or its undoing hangs, a thread beside it undoes what can be and ends it.
"""

import multiprocessing.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

from cir.disk.files import discard_unfinished
from cir.disk.locks import release_all

SIGNALLED: Final = 128
"""What shells add to the number of the signal that ended a program."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PATIENCE: Final = 0.6
"""Seconds within which Python comes to raise what a signal asks for."""
_AGAIN: Final = 0.02
"""Seconds after which a signal that was swallowed is sent again."""
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Left(KeyboardInterrupt):
    """A signal told the command to leave."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"stopped by {self.signal.name}")


@contextmanager
def on_signals(undoing: float = 5.0) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP end the block, but for those that are ignored, as nohup has it.

    Only the main thread receives signals; in another thread the block runs as it is.

    Args:
        undoing: Seconds that undoing takes at most.

    Raises:
        Left: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in heeded}
    with _watched(undoing), _heard_in_destructors():
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_if_told(code: int) -> None:
    """Ends the program with a code where a signal told it to leave and all is undone.

    What Python does when it ends, to take apart all that was loaded, takes longer than the rest.
    """
    if _told:
        end_at_once(code)


def end_at_once(code: int) -> NoReturn:
    """Ends the program with a code, once all is done and closed, and takes nothing apart.

    To take apart all that was loaded takes a fifth of the time of a search. What joined processes
    that worked together leaves threads behind that hold tensors of Python's; such a thread may ask
    for Python while it is taken apart, which aborts the program after its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or read by nobody
            stream.flush()
    multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    os._exit(code)


_told: Final[list[int]] = []
"""The signal that this process was told to leave by."""


def _leave(number: int, _: FrameType | None) -> None:
    _told.append(number)
    for one in _SIGNALS:
        if signal.getsignal(one) is _leave:
            signal.signal(one, signal.SIG_IGN)  # once is enough: what undoes is not cut short
    raise Left(number)


@contextmanager
def _heard_in_destructors() -> Iterator[None]:
    """Sends a signal again whose `Left` Python swallowed, as it does in destructors."""
    before = sys.unraisablehook

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, Left):
            before(unraisable)
            return
        number = unraisable.exc_value.signal
        signal.signal(number, _leave)
        # Later: raised in here it would be swallowed as well.
        again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _watched(undoing: float) -> Iterator[None]:
    """Ends the program where a signal came and the block does not end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    done = threading.Event()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, done, undoing), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, done: threading.Event, undoing: float) -> None:
    """Waits for signals, the end of the pipe, or a signal that is not heeded."""
    while numbers := os.read(reader, 1):
        number = numbers[0]
        if number not in _SIGNALS or signal.getsignal(number) not in (_leave, signal.SIG_IGN):
            continue  # of no concern, or one that another handler sees to
        end = time.monotonic() + _PATIENCE
        while signal.getsignal(number) is _leave and time.monotonic() < end:
            if done.wait(_PATIENCE / 20):
                return
        if signal.getsignal(number) is _leave or not done.wait(undoing):
            _abandon(number)
        return


def _abandon(number: int) -> None:
    """Undoes what can be from beside the program, and ends it; its workers end with it."""
    discard_unfinished()
    release_all()
    with suppress(OSError):
        os.write(2, _SHOW_CURSOR if os.isatty(2) else b"")
        os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())
    os._exit(SIGNALLED + number)


def _in_child() -> None:
    """A forked process dies of signals, and tells its parent's watcher nothing of them."""
    if signal.getsignal(signal.SIGTERM) in (_leave, signal.SIG_IGN):
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            if signal.getsignal(number) is _leave:
                signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_in_child)
