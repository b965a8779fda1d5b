"""What the seconds of an epoch go to."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

PARTS: Final = ("train", "embed", "evaluate", "mine")
"""The parts of an epoch's time; what is left over goes to saving and the like."""


class Clock:
    """Runs from the moment it is made; it can go on from what another one showed."""

    def __init__(self, shown: Mapping[str, Any] | None = None) -> None:
        """Starts.

        Args:
            shown: What `seconds` gave when the epoch was interrupted; nothing for a new epoch.
        """
        before = shown or {"seconds": 0.0, "parts": {}}
        self._started = time.perf_counter() - before["seconds"]
        self._parts = dict.fromkeys(PARTS, 0.0) | dict(before["parts"])
        self._open: tuple[str, float] | None = None

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block's seconds as those of one of `PARTS`."""
        self._open = name, time.perf_counter()
        try:
            yield
        finally:
            self._parts, self._open = self._now(), None

    def seconds(self) -> dict[str, Any]:
        """The seconds of the epoch so far, and those of each part, as JSON values."""
        parts = {name: round(value, 3) for name, value in self._now().items()}
        return {"seconds": round(time.perf_counter() - self._started, 3), "parts": parts}

    def _now(self) -> dict[str, float]:
        if self._open is None:
            return self._parts
        name, since = self._open
        return self._parts | {name: self._parts[name] + time.perf_counter() - since}
