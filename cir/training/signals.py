"""How SIGTERM from a scheduler, or Ctrl-C, stops a run."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from cir.errors import StoppedError
from cir.machine.processes import Processes

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Whether a signal has asked the run to stop, and whether the run stops at once or later.

    Between two epochs it stops at once, for that work is done again on resuming. Within an epoch it
    stops between two steps. Several processes stop together between two steps, for no process may
    leave while others wait for it.
    """

    def __init__(self, run: Path, processes: Processes) -> None:
        self._run = run
        self._processes = processes
        self._received: signal.Signals | None = None
        self._deferred = processes.count > 1

    def received_by_any(self) -> signal.Signals | None:
        """The signal that any process received; all processes call this at the same point."""
        if self._processes.count == 1:
            return self._received
        received = self._processes.all_gather_object(self._received)
        return next((one for one in received if one is not None), None)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block a signal does not stop the run; `received_by_any` tells of it.

        Raises:
            StoppedError: a signal came after the last call of `received_by_any`.
        """
        if self._processes.count > 1:
            yield
            return
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self._received is not None:
            raise self._stopped(self._received)

    def receive(self, number: int, _: FrameType | None) -> None:
        """Handles a signal; the second one ends the program, as if signals were not handled."""
        if self._received is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._received = signal.Signals(number)
        if not self._deferred:
            raise self._stopped(self._received)

    def _stopped(self, received: signal.Signals) -> StoppedError:
        return StoppedError(
            received,
            f"stopped by {received.name} between two epochs; what {self._run} holds was saved "
            f"before",
        )


@contextmanager
def handle_stop_signals(run: Path, processes: Processes) -> Iterator[StopRequest]:
    """SIGTERM, SIGINT and SIGHUP stop the run inside the block, but for those that are ignored.

    Only the main thread receives signals; in another thread the block runs without handlers.

    Args:
        run: The run folder, for messages.
        processes: Those that train together.

    Raises:
        StoppedError: a signal came outside of a step.
    """
    stop = StopRequest(run, processes)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heeded = [one for one in _STOP_SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.receive) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
