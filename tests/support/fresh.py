"""What a user sees: calls in a fresh process, without the check of types that tests make."""

import json
import subprocess
import sys
from collections.abc import Sequence

_SCRIPT = """
import json, sys
setup, calls = json.load(sys.stdin)
names = {}
exec(setup, names)
lines = []
for call in calls:
    try:
        eval(call, names)
        lines.append("accepted")
    except Exception as error:
        lines.append(f"{type(error).__name__}: {error}")
print(json.dumps(lines))
"""


def lines_of(setup: str, calls: Sequence[str]) -> list[str]:
    """What each call raises, as `Error: message`, or `accepted`."""
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps([setup, calls]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines: list[str] = json.loads(run.stdout)
    return lines


def assert_refused(said: str, expected: str, *errors: str) -> None:
    """That a call of `lines_of` ended in one line, of one of these errors, with these words."""
    kind, _, line = said.partition(": ")
    assert kind in errors
    assert expected in line
    assert "\n" not in line
