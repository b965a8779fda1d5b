"""A run that is asked to stop: by SIGTERM from a scheduler, or by Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from cir.errors import StoppedError
from cir.processes import Processes

_HEEDED: Final = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether to stop has been asked for, and whether that can wait for the end of a step.

    What is redone on resuming is left at once. Of several processes none leaves by itself, for the
    others would wait for it: they agree between two steps.
    """

    def __init__(self, run: Path, processes: Processes) -> None:
        self._run = run
        self._processes = processes
        self._asked: signal.Signals | None = None
        self._waits = processes.count > 1

    def agreed(self) -> signal.Signals | None:
        """The signal that any of the processes was sent; all of them ask at the same point."""
        if self._processes.count == 1:
            return self._asked
        told = self._processes.all_gather_object(self._asked)
        return next((sent for sent in told if sent is not None), None)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside the block a signal is only remembered, for `agreed` to tell.

        Raises:
            StoppedError: a signal came, and nobody asked `agreed` in time.
        """
        if self._processes.count > 1:
            yield
            return
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self._asked is not None:
            raise self._stopped(self._asked)

    def receive(self, number: int, _: FrameType | None) -> None:
        """Takes a signal; the second one ends the program as if it were not handle_stop_signals."""
        if self._asked is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._asked = signal.Signals(number)
        if not self._waits:
            raise self._stopped(self._asked)

    def _stopped(self, sent: signal.Signals) -> StoppedError:
        return StoppedError(
            sent,
            f"stopped by {sent.name} between two epochs; what {self._run} holds was saved "
            f"before: go on with --resume",
        )


@contextmanager
def handle_stop_signals(run: Path, processes: Processes) -> Iterator[StopRequest]:
    """SIGTERM and SIGINT stop the run inside the block; before and after, they are as they were.

    Only the main thread is sent signals; in any other one the block runs unheeding.

    Args:
        run: The run folder, which messages name.
        processes: Those that train together.

    Raises:
        StoppedError: a signal came outside of a step.
    """
    wish = StopRequest(run, processes)
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, wish.receive) for number in _HEEDED}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
