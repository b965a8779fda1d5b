"""What a user sees: calls in another process, without the check of types that tests make."""

import json
from collections.abc import Sequence

from tests.support.forked import CODE, forked

_SCRIPT = """
import json, sys
setup, calls = json.loads(sys.argv[1])
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
    said, errors = forked(CODE, [_SCRIPT, json.dumps([setup, calls])]).communicate(timeout=120)
    assert not errors
    lines: list[str] = json.loads(said)
    return lines


def assert_refused(said: str, expected: str, *errors: str) -> None:
    """That a call of `lines_of` ended in one line, of one of these errors, with these words."""
    kind, _, line = said.partition(": ")
    assert kind in errors
    assert expected in line
    assert "\n" not in line
