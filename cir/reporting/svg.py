"""Drawings as inline SVG that takes its colours and its font from the page around it.

Matplotlib draws with stand-in colours, each of which becomes a CSS variable in the finished text
(`--ink`, `--line`, `--c1` ...), so that one drawing suits a light and a dark page. What a browser
would fetch or does not need inside HTML (document type, name spaces, metadata) is left out.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK, LINE = "#010101", "#020202"
C1, C2, C3, C4, C5, C6 = "#030303", "#040404", "#050505", "#060606", "#070707", "#080808"
COLOURS: Final = (C1, C2, C3, C5, C6, C4)
"""For names that are not known beforehand, in turn."""
_VARIABLES: Final = {
    INK: "ink",
    LINE: "line",
    C1: "c1",
    C2: "c2",
    C3: "c3",
    C4: "c4",
    C5: "c5",
    C6: "c6",
}

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.parse_math": False,  # a dollar in a category's name is no formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
}

_LEFT_OUT: Final = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|(?<=<g) id=\"[^\"]*\"|font-family: [^;\"]*;?",
    flags=re.DOTALL,
)
"""Metadata, styles that would leak into the page, ids that every chart repeats, font names."""


class Drawing:
    """One drawing: a figure to draw on, then its SVG."""

    def __init__(self, described: str, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self._described = described
        self._text = ""

    def finish(self) -> None:
        """Draws the figure, while the style applies."""
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        self._text = buffer.getvalue()

    def svg(self) -> Markup:
        """The finished drawing as an element of HTML."""
        return _inline(self._text, self._described)


@contextmanager
def drawing(described: str, width: float, height: float) -> Iterator[Drawing]:
    """A drawing in the style of the pages, `width` by `height` inches.

    `described` says what it shows to those who do not see it, and makes the ids inside unique.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": described}):
        drawn = Drawing(described, width, height)
        yield drawn
        drawn.finish()


def _inline(text: str, described: str) -> Markup:
    """An SVG document as an element: sized by the page, coloured by CSS variables."""
    box = re.search(r'viewBox="([^"]+)"', text)
    start = text.index(">", text.index("<svg")) + 1
    body = _LEFT_OUT.sub("", text[start:])
    for stand_in, name in _VARIABLES.items():
        body = body.replace(stand_in, f"var(--{name})")
    opening = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(described)}">'
    return Markup(opening + body)  # noqa: S704 - drawn here, and its only text is escaped
