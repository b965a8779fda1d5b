"""A line for who waits: said where a command on a screen has said nothing for a while.

Libraries of tensors take seconds to load on a busy machine; until then a screen would stay empty.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SECONDS: Final = 0.8
"""Of silence, after which the line is said; the first line so comes within two seconds."""

_said = threading.Event()
"""Whether something has been said."""


def broken() -> None:
    """Tells that something is said now, so that the line is not needed any more."""
    _said.set()


@contextmanager
def awaited(line: str) -> Iterator[None]:
    """Says `line` on the screen of the bars if the block says nothing for a while."""
    _said.clear()
    timer = threading.Timer(_SECONDS, _say, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        broken()
        timer.cancel()


def _say(line: str) -> None:
    from pipeline.screen.bars import err, on_screen

    if on_screen(err) and not _said.is_set():
        err.print(line, soft_wrap=True, markup=False, style="dim")
