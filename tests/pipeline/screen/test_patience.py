"""The line that a waiting user gets: on a screen, after a while, and only into silence."""

import io
import time

import pytest
from rich.console import Console

from pipeline.screen import bars, patience


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def said(
    monkeypatch: pytest.MonkeyPatch, *, screen: bool, seconds: float, spoken: bool = False
) -> str:
    """What stands on the stream after a command that takes so long."""
    stream = Screen() if screen else io.StringIO()
    monkeypatch.setattr(bars, "err", Console(file=stream, force_terminal=screen))
    monkeypatch.setattr(patience, "_SECONDS", 0.02)
    with patience.awaited("cir mine begins"):
        if spoken:
            patience.broken()
        time.sleep(seconds)
    return stream.getvalue()


@pytest.mark.slow
def test_silence_on_a_screen_is_broken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, screen=True, seconds=0.3).count("cir mine begins") == 1


@pytest.mark.parametrize(
    ("screen", "seconds", "spoken"), [(True, 0.0, False), (True, 0.1, True), (False, 0.1, False)]
)
def test_nothing_is_added_to_what_is_said_and_to_logs(
    monkeypatch: pytest.MonkeyPatch, screen: bool, seconds: float, spoken: bool
) -> None:
    assert said(monkeypatch, screen=screen, seconds=seconds, spoken=spoken) == ""
