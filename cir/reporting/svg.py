"""Drawings as inline SVG that takes its colours and its font from the page around it.

Matplotlib draws with stand-in colours, each of which becomes a CSS variable in the finished text
(`--ink`, `--line`, `--c1` ...), so that one drawing suits a light and a dark page. What a browser
would fetch or does not need inside HTML (document type, name spaces, metadata) is left out.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
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


Draw = Callable[[Figure], None]
"""Draws on an empty figure, of whatever size it has."""
Size = tuple[float, float]
"""Width and height in inches."""


def drawn(described: str, draw: Draw, size: Size, phone: Size | None = None) -> Markup:
    """A drawing as HTML, in the style of the pages.

    Text keeps its size on the figure. A page scales a drawing to the width there is, so what can be
    read on a wide screen is too small on a phone: the style sheet shows one of two drawings there.

    Args:
        described: What it shows, for those who do not see it; makes the ids inside unique.
        draw: Draws it, once a size.
        size: Its size.
        phone: Its size where the page is narrow; None where `size` does for both.
    """
    if phone is None:
        return _drawn(described, draw, size, "")
    both = (_drawn(described, draw, size, "wide"), _drawn(described, draw, phone, "narrow"))
    return Markup("").join(both)


def _drawn(described: str, draw: Draw, size: Size, name: str) -> Markup:
    """One drawing; `name` is its class in the page."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": described + name}), _without_glyph_warnings():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), described, name)


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """Ignores that matplotlib's font lacks a character: the reader's browser has fonts of its own.

    Matplotlib's font only measures how wide a text is; the drawing holds it as text.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from (current )?font", UserWarning)
        yield


def _inline(text: str, described: str, name: str) -> Markup:
    """An SVG document as an element: sized by the page, coloured by CSS variables."""
    box = re.search(r'viewBox="([^"]+)"', text)
    start = text.index(">", text.index("<svg")) + 1
    body = _LEFT_OUT.sub("", text[start:])
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, f"var(--{variable})")
    named = f'class="{name}" ' if name else ""
    opening = (
        f'<svg {named}viewBox="{box[1] if box else ""}" role="img" '
        f'aria-label="{escape(described)}">'
    )
    return Markup(opening + body)  # noqa: S704 - drawn here, and its only text is escaped
