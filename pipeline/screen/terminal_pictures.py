"""Photos in the terminals that show pictures: kitty's protocol, and iTerm2's inline images."""

import base64
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from cir.data.images import read_image

Protocol = Literal["kitty", "iterm"]

_SIDE: Final = 160
"""Longest side of a picture in pixels."""
_ROWS: Final = 6
"""Lines of text that a picture takes."""
_CHUNK: Final = 4096
"""Characters of base64 that kitty takes at once."""


def shown_by(environment: Mapping[str, str] = os.environ) -> Protocol | None:
    """How the terminal takes pictures; None where it is not known to take any."""
    if environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if environment.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm"):
        return "iterm"
    return None


def picture(file: Path, protocol: Protocol) -> str:
    """The control sequence that draws a photo.

    Raises:
        ImageError: the file is missing or damaged.
    """
    photo = read_image(file)
    photo.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    photo.save(buffer, format="PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;height={_ROWS}:{encoded}\x07"
    return "".join(_kitty(encoded))


def _kitty(encoded: str) -> Iterator[str]:
    """Chunks, the first of which says what comes: a PNG, drawn at once."""
    starts = range(0, len(encoded), _CHUNK)
    for start in starts:
        control = f"a=T,f=100,r={_ROWS}," if start == 0 else ""
        more = int(start != starts[-1])
        yield f"\x1b_G{control}m={more};{encoded[start : start + _CHUNK]}\x1b\\"
