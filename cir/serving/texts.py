"""What a text of a request may be."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from cir.data.soundness import text_fault
from cir.serving import limits

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters but tabs and the ends of lines, which a text may hold."""


def _readable(text: str) -> str:
    fault = text_fault(text)
    if fault is None and _CONTROL.search(text):
        fault = f"{text!r} holds a control character"
    if fault is not None:
        raise PydanticCustomError("unreadable", "{fault}", {"fault": fault})
    return text


_PATTERN: Final = Field(json_schema_extra={"pattern": f"^{_CONTROL.pattern.replace('[', '[^')}*$"})
"""What machines read of it: as a constraint its message would be the pattern."""

Text = Annotated[
    str, StringConstraints(max_length=limits.TEXT), AfterValidator(_readable), _PATTERN
]
Words = Annotated[
    str,
    StringConstraints(min_length=1, max_length=limits.TEXT, strip_whitespace=True),
    AfterValidator(_readable),
    _PATTERN,
]
"""A text that says something."""
